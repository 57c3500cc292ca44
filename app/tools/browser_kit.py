"""The kit "browser": searches the web and opens pages; whose URL it is decides whether the person is asked."""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.documents.attachments import split
from app.tools.kit import Judge
from app.tools.permission import Decision, Wish
from mlx_model.errors import RequestError
from mlx_model.extras import install_line
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role
from mlx_model.tools.base import Tool
from mlx_model.tools.browser import Browser
from mlx_model.tools.browser.backends import Wikipedia, choose
from mlx_model.tools.browser.search import NamedSearch
from mlx_model.tools.browser.session import same_url, urls_in

# A host as people write one, with a path or without.
_HOST = re.compile(r"(?<![\w@./-])(?:[\w-]+\.)+[a-z]{2,}(?:/[^\s<>\"']*)?", re.IGNORECASE)
_MADE_UP = "not from a page or from you"


class BrowserKit:
    """See Kit.

    A search leaves the computer, so it is asked about. A link that stood on a page, and a URL that the person wrote,
    open without a question, for the person or a page has chosen them. Any other URL is one that the model has made up,
    and may carry what it knows to whoever the URL names: a person is asked, and only a rule for this very host allows
    it; where pages were read and there is private text, none does. Redirects are judged again.

    `settings` are those of the table `browser`; pages are kept in `folder`, without one in memory.
    """

    name = "browser"
    subjects = ("browser",)

    def __init__(self, folder: Path | None, settings: Mapping[str, Any] | None = None) -> None:
        self._folder = folder
        self._settings = settings or {}
        self._search: NamedSearch | None = None
        self._browser: Browser | None = None
        self._heard: frozenset[str] = frozenset()
        self.has_private_text = False
        self._call: tuple[ToolCall, str] | None = None  # what was judged last, and the URL it is about
        self.judge: Judge | None = None
        self.trouble = ""

    @property
    def tools(self) -> Sequence[Tool]:
        """See Kit."""
        return () if self._browser is None else (self._browser,)

    @property
    def instructions(self) -> str:
        """See Kit. The model takes a search for one of the whole web."""
        return "browser.search finds articles of Wikipedia only." if isinstance(self._search, Wikipedia) else ""

    @property
    def state(self) -> str:
        """See Kit."""
        search = self._search.name if self._search else "nowhere"
        return f"searches {search}, asks before that and before a URL of the model's own"

    async def prepare(self) -> None:
        """See Kit."""
        if self._browser is not None:
            return
        settings = self._settings
        name = settings.get("search") or ("searxng" if settings.get("url") else Wikipedia.name)
        if name == "ddgs" and find_spec("ddgs") is None:
            self.trouble = f"the search ddgs needs a package: {install_line('ddgs')}"
            return
        try:
            self._search = choose(name, os.environ, key=settings.get("key", ""), url=settings.get("url", ""))
        except RequestError as error:
            self.trouble = f"{error}, or change the table [browser] of the settings file"
            return
        try:
            self._browser = Browser(
                self._search,
                pages=self._folder,
                may_open=self._may_open,
                allow_hosts=settings.get("allow_hosts", ()),
            )
        except RequestError as error:
            self.trouble = str(error)
            return
        self.trouble = ""

    def follow(self, messages: Sequence[Message]) -> None:
        """See Browsing."""
        prompts = (split(message.text)[0] for message in messages if message.role is Role.USER)
        self._heard = frozenset(same_url(url) for text in prompts for url in _urls_of_a_person(text))
        if self._browser is not None:
            self._browser.restore(messages)

    async def wish(self, call: ToolCall) -> Wish:
        """See Kit."""
        assert self._browser is not None and self._search is not None  # a tool of its own is called
        function = f"browser.{call.name.partition('.')[2]}"
        if function == "browser.search":
            query = str(call.arguments.get("query") or call.arguments.get("q") or call.text)
            subjects = (f"{function} {self._search.name}", function, "browser")
            return Wish(subjects, Decision.ASK, f"the words go to {self._search.host}", query)
        url = self._browser.request_of(call) if function == "browser.open" else ""
        self._call = call, url
        if not url:  # of what was fetched already
            return Wish((function, "browser"), Decision.ALLOW, "a rule says so", call.text)
        return await self._opening(url)

    async def close(self) -> None:
        """See Kit. Pages are kept: what was cited can be looked up."""
        if self._browser is not None:
            await self._browser.close()

    async def _may_open(self, url: str, sender: str) -> str | None:
        """Judges what a call comes to: a redirect, or a link of a page that had to be fetched again."""
        if self._call is None or self.judge is None:
            return "The user has not allowed this."
        call, judged = self._call
        if not sender and same_url(url) == same_url(judged):
            return None
        return await self.judge(call, await self._opening(url, sender))

    async def _opening(self, url: str, sender: str = "") -> Wish:
        hosts = await asyncio.to_thread(lambda: list(_hosts(url)))
        subjects = (*(f"browser.open {host}" for host in hosts), "browser.open", "browser")
        is_known = await asyncio.to_thread(self._is_known, url)
        if is_known or (sender and await self._may_redirect(hosts, sender)):
            return Wish(subjects, Decision.ALLOW, "a rule says so", url)
        why = f"{_site(sender)} sends the browser to another site" if sender else _MADE_UP
        is_guarded = self.has_private_text and self._browser is not None and self._browser.has_pages
        return Wish(subjects, Decision.ASK, why, url, always=not is_guarded, is_exact=True)

    async def _may_redirect(self, hosts: Sequence[str], sender: str) -> bool:
        """Where a known URL leads was decided by who has set the link; where a made-up one leads is asked, unless it
        stays at its site."""
        origin = self._call[1] if self._call is not None else ""
        return self._is_known(origin) or hosts[-1] == (await asyncio.to_thread(lambda: list(_hosts(sender))))[-1]

    def _is_known(self, url: str) -> bool:
        return same_url(url) in self._heard or (self._browser is not None and self._browser.knows(url))


def _urls_of_a_person(text: str) -> Iterator[str]:
    """URLs as people write them, also without "https://"."""
    yield from urls_in(text)
    for match in _HOST.finditer(text):
        bare = match[0].rstrip(".,;:!?)]}")
        yield f"https://{bare}"
        yield f"http://{bare}"


def _hosts(url: str) -> Iterator[str]:
    """The host of a URL, and those it is part of, down to the one that somebody has registered."""
    from tld import get_tld  # only now: it reads a list of all endings

    host = _site(url)
    yield host
    found = get_tld(f"https://{host}", as_object=True, fail_silently=True, search_private=True)
    registered = found.fld if found is not None else host
    while host.endswith(f".{registered}"):
        host = host.partition(".")[2]
        yield host


def _site(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
