"""The pages of one conversation: what a cursor shows, where a link leads, and how pages are had and kept."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urldefrag, urlsplit

from mlx_model.harmony.message import Message
from mlx_model.tools.browser.arguments import UNSET, as_number, flag_of, number_of
from mlx_model.tools.browser.content import read_page, read_source
from mlx_model.tools.browser.display import readable
from mlx_model.tools.browser.errors import BrowserError, fetching, truncated
from mlx_model.tools.browser.fetch import Fetcher, MayOpen, Response
from mlx_model.tools.browser.finding import CONTEXT_LINES, find, found_in
from mlx_model.tools.browser.kept_pages import KeptPages, key_of
from mlx_model.tools.browser.page import Page
from mlx_model.tools.browser.stack import VIEW_SOURCE, Entry, Stack
from mlx_model.tools.shown_pages import Kind

_LINK = re.compile(r"【(\d+)†([^†】]*)")
_URL_IN_TEXT = re.compile(r"https?://[^\s<>\"'`【】†|\\^{}]+")
_AFTER_URL = ".,;:!?)]}*_"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the arguments of a call of browser.open ask for: the link `number` of a page, or a `url`; neither of them is
    the page itself. `cursor` is negative for the newest page."""

    number: int = UNSET
    url: str = ""
    cursor: int = UNSET
    source: bool = False

    @staticmethod
    def read(arguments: Mapping[str, Any]) -> Wanted:
        """Raises BrowserError for arguments that make no sense."""
        cursor, source = number_of(arguments, "cursor"), flag_of(arguments, "view_source")
        value = next((each for name in ("id", "url") if (each := arguments.get(name)) not in (None, "")), UNSET)
        if isinstance(value, str) and (link := _LINK.match(value.strip())):
            value = link[1]
        number = as_number(value)
        if number is not None:
            return Wanted(number, "", cursor, source)
        if not isinstance(value, str):
            raise BrowserError(f"`id` should be an integer or a string, not `{type(value).__name__}`")
        url = urldefrag("".join(value.split()).strip("<>\"'")).url
        if source := source or url.startswith(VIEW_SOURCE):
            url = url.removeprefix(VIEW_SOURCE)
        if not re.match(r"[a-z][a-z0-9+.-]*:(?!\d)", url, re.IGNORECASE):
            if not re.match(r"[^/\s]+[.:][^/]", url) or len(value.split()) > 1:
                raise BrowserError(f"Invalid link id `{truncated(value)}`.")
            url = f"https://{url}"
        return Wanted(url=url, source=source)


@dataclass(frozen=True, slots=True)
class Source:
    """What a citation refers to. `lines` are those of the display's page, by number."""

    title: str
    url: str
    lines: tuple[str, ...]


class Session:
    """The stack of a conversation and its pages. A page that is no longer kept is fetched again."""

    def __init__(self, kept: KeptPages, fetcher: Fetcher, may_open: MayOpen | None = None) -> None:
        self.stack = Stack()
        self._kept = kept
        self._fetcher = fetcher
        self._may_open = may_open
        self._known: dict[str, frozenset[str]] = {}  # the URLs on a page, by its key

    def restore(self, messages: Iterable[Message]) -> None:
        """See Stack.restore."""
        self.stack.restore(messages)

    async def open(self, wanted: Wanted) -> tuple[Entry, Page, int]:
        """What is shown: its entry, its page and the line from which it is shown. Raises BrowserError."""
        if wanted.url:
            return await self._open_url(wanted.url, source=wanted.source, fresh=True)
        entry = self._meant(wanted)
        page = await self.page(entry)
        if wanted.number < 0:
            if wanted.source and page.url:
                return await self._open_url(page.url, source=True, fresh=True)
            return entry, page, 0
        if wanted.number >= len(page.links):
            raise BrowserError(f"Invalid link id `{wanted.number}`.")
        if page.matches:
            line, searched = page.matches[wanted.number], self._searched(entry)
            return searched, await self.page(searched), line - CONTEXT_LINES if line > CONTEXT_LINES else line
        return await self._open_url(page.links[wanted.number], source=wanted.source, fresh=wanted.source)

    async def find(self, pattern: str, cursor: int) -> tuple[Entry, Page]:
        """The page of a search within a page. Raises BrowserError."""
        entry = self.stack[self.stack.cursor(cursor)]
        if entry.kind is Kind.FIND:
            if cursor >= 0:
                raise BrowserError("Cannot run `find` on search results page or find results page")
            entry = self._searched(entry)
        page = await self.page(entry)
        found = await asyncio.to_thread(find, page, pattern)
        return Entry(Kind.FIND, found.url, found.title, entry.key), found

    async def page(self, entry: Entry) -> Page:
        """The page of an entry. Raises BrowserError if it is no longer kept and can't be had again."""
        if entry.kind is Kind.FIND:
            return find(await self.page(self._searched(entry)), _pattern(entry))
        if (page := await asyncio.to_thread(self._kept_in_lines, entry.key)) is not None:
            return page
        if not entry.url:
            what = "The results of that search are" if entry.kind is Kind.SEARCH else "That page is"
            raise BrowserError(f"{what} no longer kept. Search again.")
        return (await self._open_url(entry.url, fresh=True))[1]

    def kept_page(self, entry: Entry) -> Page | None:
        """The page of an entry, None if it is no longer kept."""
        if entry.kind is Kind.FIND:
            searched = self._kept.get(entry.key)
            return None if searched is None else find(searched, _pattern(entry))
        return self._kept.get(entry.key)

    def keep(self, key: str, page: Page) -> None:
        """Keeps a page that was not fetched: the results of a search."""
        self._kept.put(key, page)

    def request_of(self, wanted: Wanted) -> str:
        """The URL that opening it would fetch first, "" if it fetches nothing, as far as can be told before."""
        if wanted.url:
            return wanted.url
        try:
            entry = self._meant(wanted)
        except BrowserError:
            return ""
        page = self.kept_page(entry)
        if page is None:
            return entry.url.removeprefix(VIEW_SOURCE) if entry.kind is Kind.PAGE else ""
        if wanted.number < 0:
            return page.url.removeprefix(VIEW_SOURCE) if wanted.source else ""
        if wanted.number >= len(page.links) or page.matches:
            return ""
        url = urldefrag(page.links[wanted.number]).url
        return url if wanted.source or self._kept.get(key_of(readable(url))) is None else ""

    def knows(self, url: str) -> bool:
        """Whether a URL is that of a page that was shown, or stands on one."""
        meant = same_url(url)
        return any(meant in self._urls_on(entry) for entry in self.stack.entries)

    def source(self, cursor: int, line: int = 0) -> Source | None:
        """What a citation of a line refers to: of results of a search the result, of a search within a page that page.
        None for a cursor that there isn't, and for a page that is no longer kept."""
        if not 0 <= cursor < len(self.stack) or (page := self.kept_page(entry := self.stack[cursor])) is None:
            return None
        if entry.kind is Kind.FIND and (searched := self._kept.get(entry.key)) is not None:
            return Source(searched.title, searched.url, page.lines)
        if entry.kind is Kind.SEARCH:
            before = page.joined[: page.start_of(min(max(line, 0) + 1, len(page.lines)))]
            for link in reversed(list(_LINK.finditer(before))):
                if int(link[1]) < len(page.links):
                    return Source(link[2], page.links[int(link[1])], page.lines)
        return Source(page.title, page.url, page.lines)

    def _meant(self, wanted: Wanted) -> Entry:
        """The entry of a page that a call is about. The newest may be a search within a page: unless the number is one
        of its matches, the model means the page that was searched. Raises BrowserError."""
        entry = self.stack[self.stack.cursor(wanted.cursor)]
        if entry.kind is Kind.FIND and wanted.cursor < 0:
            page = self.kept_page(entry)
            if page is None or not 0 <= wanted.number < len(page.matches):
                return self._searched(entry)
        return entry

    def _searched(self, entry: Entry) -> Entry:
        """The entry of the page that was searched."""
        for each in reversed(self.stack.entries):
            if each.key == entry.key and each.kind is not Kind.FIND:
                return each
        url = (found_in(entry.url) or ("", ""))[0]
        return Entry(Kind.PAGE if url else Kind.SEARCH, url, entry.title, entry.key)

    async def _open_url(self, url: str, *, source: bool = False, fresh: bool = False) -> tuple[Entry, Page, int]:
        bare = urldefrag(url.removeprefix(VIEW_SOURCE)).url
        source = source or url.startswith(VIEW_SOURCE)
        shown = f"{VIEW_SOURCE}{bare}" if source else bare
        page = None if fresh else await asyncio.to_thread(self._kept_in_lines, key_of(readable(shown)))
        if page is None:
            try:
                response = await self._fetcher.fetch(bare, self._may_open)
                page = await asyncio.to_thread(self._read, response, shown if source else "")
            except BrowserError as error:
                raise fetching(shown, error) from None
        key = key_of(readable(page.url))
        return Entry(Kind.PAGE, page.url, page.title, key), page, 0

    def _read(self, response: Response, source_url: str) -> Page:
        """The page that a server has sent, kept and in lines; with a `source_url` its source. For a thread: of
        megabytes it takes seconds. Raises BrowserError."""
        page = read_source(response, source_url) if source_url else read_page(response)
        key = key_of(readable(page.url))
        self._kept.put(key, page)
        self._known.pop(key, None)
        return _in_lines(page)

    def _kept_in_lines(self, key: str) -> Page | None:
        page = self._kept.get(key)
        return None if page is None else _in_lines(page)

    def _urls_on(self, entry: Entry) -> frozenset[str]:
        if entry.key not in self._known:
            page = self._kept.get(entry.key)
            if page is None:
                return frozenset()
            urls = (page.url, *page.links, *urls_in(page.joined))
            self._known[entry.key] = frozenset(map(same_url, filter(None, urls)))
        return self._known[entry.key]


def _in_lines(page: Page) -> Page:
    """The page, whose lines are made now: later there would be somebody who waits for them."""
    _ = page.lines
    return page


def urls_in(text: str) -> list[str]:
    """The URLs that a text has."""
    return [match[0].rstrip(_AFTER_URL) for match in _URL_IN_TEXT.finditer(text)]


def same_url(url: str) -> str:
    """A URL in the form in which equal ones are equal: without a fragment and a slash at its end."""
    bare = urldefrag(url.removeprefix(VIEW_SOURCE)).url
    try:
        parts = urlsplit(bare)
    except ValueError:
        return bare
    return parts._replace(netloc=parts.netloc.lower()).geturl().rstrip("/")


def _pattern(entry: Entry) -> str:
    return (found_in(entry.url) or ("", ""))[1]
