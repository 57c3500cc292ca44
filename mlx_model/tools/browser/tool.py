"""The browser tool: search, open and find, as gpt-oss was trained with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from mlx_model.errors import RequestError
from mlx_model.extras import install_line
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message
from mlx_model.tokens import about_tokens
from mlx_model.tools.base import ROOM, Output, ToolResult
from mlx_model.tools.browser.arguments import number_of, text_of
from mlx_model.tools.browser.backends import Wikipedia
from mlx_model.tools.browser.display import VIEW_TOKENS, Count, view
from mlx_model.tools.browser.errors import BrowserError, searching
from mlx_model.tools.browser.fetch import Fetcher, MayOpen
from mlx_model.tools.browser.kept_pages import KeptPages
from mlx_model.tools.browser.page import Page, host_of
from mlx_model.tools.browser.search import MOST_RESULTS, Search, results_page
from mlx_model.tools.browser.session import Session, Source, Wanted
from mlx_model.tools.browser.stack import Entry, key_of_results
from mlx_model.tools.shown_pages import Kind

HEADER_TOKENS = 60
"""About what a view's title takes of the room for a result."""
_PACKAGES = ("httpx2", "lxml", "trafilatura")
RESULTS = 10
"""Of a search, if the model says nothing: as it was told in its training."""


class Browser:
    """Searches the web and opens pages for the model.

    `search` is who is asked: a service (see backends) or a function of your own; without one Wikipedia. Pages are kept
    in the folder `pages`, without one in memory. Each request is preceded by a question to `may_open`, a redirect, too.
    Only hosts of the internet are opened, and those in `allow_hosts`. `count` counts tokens, by default it estimates
    them.

    What was opened before, and is in a conversation's messages, is there again after `restore`. Raises RequestError
    where packages of the extra `browser` are missing.
    """

    name = "browser"
    declaration = "browser"

    def __init__(
        self,
        search: Search | None = None,
        *,
        pages: Path | None = None,
        may_open: MayOpen | None = None,
        allow_hosts: Collection[str] = (),
        count: Count = about_tokens,
        fetcher: Fetcher | None = None,
    ) -> None:
        if any(find_spec(package) is None for package in _PACKAGES):
            raise RequestError(f"packages are missing: {install_line('browser')}")
        self._search_for: Search = search or Wikipedia()
        fetcher = fetcher or Fetcher(allow_hosts=allow_hosts)
        self._session = Session(KeptPages(pages), fetcher, may_open)
        self._count = count
        self._is_closed = False
        self._one_at_a_time = asyncio.Lock()

    def restore(self, messages: Iterable[Message]) -> None:
        """Makes the pages those that the messages of a conversation show, by the cursors that stand there."""
        self._session.restore(messages)

    def source(self, cursor: int, line: int = 0) -> Source | None:
        """What a citation of a line refers to; see Session.source."""
        return self._session.source(cursor, line)

    def request_of(self, call: ToolCall) -> str:
        """The URL that a call of browser.open would fetch, "" if it fetches nothing."""
        try:
            return self._session.request_of(Wanted.read(call.arguments))
        except BrowserError:
            return ""

    def knows(self, url: str) -> bool:
        """Whether a URL is that of a page that was shown, or stands on one."""
        return self._session.knows(url)

    @property
    def has_pages(self) -> bool:
        """Whether a page was shown, or the results of a search."""
        return len(self._session.stack) > 0

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        """See Tool. A view has at most `room` tokens, but some lines at least."""
        started = time.monotonic()
        async with self._one_at_a_time:
            try:
                if self._is_closed:
                    raise BrowserError("The browser was switched off.")
                result = await self._run(call, room)
            except BrowserError as error:
                result = ToolResult(str(error), error=True, outcome=error.reason)
            except Exception as error:  # of a library that a hostile page has confused
                result = ToolResult(f"Error: {type(error).__name__}: {error}".rstrip(": "), error=True)
        return replace(result, seconds=time.monotonic() - started)

    async def close(self) -> None:
        """See Tool. Pages in a folder stay."""
        self._is_closed = True

    async def _run(self, call: ToolCall, room: int) -> ToolResult:
        arguments, function = call.arguments, call.name.partition(".")[2]
        tokens = min(VIEW_TOKENS, room - HEADER_TOKENS)
        if function == "search":
            query = text_of(arguments, "query", "q").strip()
            if not query:
                raise BrowserError("`query` should be a string with the words to search for")
            count = max(1, min(number_of(arguments, "topn", RESULTS), MOST_RESULTS))
            return await self._search(query, count, tokens)
        if function == "find":
            pattern = text_of(arguments, "pattern", "query", "q").strip()
            if not pattern:
                raise BrowserError("`pattern` should be a string with the words to find")
            entry, found = await self._session.find(pattern.lower(), number_of(arguments, "cursor"))
            matches = f"{len(found.matches)} match{'' if len(found.matches) == 1 else 'es'}"
            return replace(self._show(entry, found, 0, 0, tokens), outcome=matches)
        if function == "open":
            first, lines = number_of(arguments, "loc"), number_of(arguments, "num_lines")
            entry, page, line = await self._session.open(Wanted.read(arguments))
            return self._show(entry, page, line if first < 0 else first, lines, tokens)
        raise BrowserError(f'{{"error": "Unknown function: {function}"}}')

    async def _search(self, query: str, count: int, tokens: int) -> ToolResult:
        try:
            results = await self._search_for(query, count)
        except Exception as error:  # it may be the caller's own
            raise searching(query, error) from None
        page = results_page(query, list(results)[:count])
        shown = view(page, len(self._session.stack), 0, 0, self._count, tokens)
        entry = Entry(Kind.SEARCH, "", page.title, key_of_results(shown.text))
        await asyncio.to_thread(self._session.keep, entry.key, page)
        self._session.stack.push(entry)
        found = len(page.links)
        return ToolResult(shown.text, outcome=f"{found} result{'' if found == 1 else 's'}")

    def _show(self, entry: Entry, page: Page, first: int, most_lines: int, tokens: int) -> ToolResult:
        shown = view(page, len(self._session.stack), first, most_lines, self._count, tokens)
        self._session.stack.push(entry)
        where = f"{host_of(page.url)} " if page.url else ""
        return ToolResult(shown.text, outcome=f"{where}L{shown.first}-{shown.last} of {shown.of}")
