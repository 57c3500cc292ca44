"""What the browser has shown to the model: pages by cursor, read from the messages of a conversation alone."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from urllib.parse import quote, urlsplit

from mlx_model.harmony.calls import read_call
from mlx_model.harmony.message import Message, Role
from mlx_model.text import clean

MOST_TITLE = 200

_HEADER = re.compile(r"\[(?P<cursor>[0-9]{1,6})\] (?P<title>[^\n]{0,4000})\n\*\*")
# A URL has no space. One of 1,024 characters may be cut off, and would lead elsewhere.
_TITLE_AND_URL = re.compile(r"(?P<title>.*) \((?P<url>[^\s()]\S{,1022})\)")
_LINE = re.compile(r"^L([0-9]{1,7}):[ ]?(.*)$", re.MULTILINE)
_LINK = re.compile(r"【(?P<id>[0-9]{1,6})†(?P<title>[^†】]*)(?:†(?P<site>[^†】]*))?】")
_MATCH = re.compile(r"# 【[0-9]{1,6}†match at L(?P<line>[0-9]{1,7})】")
_FIND = "/find?pattern="
_SEARCHED = re.compile(r" in `(?P<title>.*)`$")
_URL = re.compile(r"https?://[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+", re.IGNORECASE)
_HOST = re.compile(r"[0-9a-z_](?:[0-9a-z._-]*[0-9a-z_])?\.?|[0-9a-f:.]+")
_VIEW_SOURCE = "view-source:"


class Kind(StrEnum):
    """What a page is: one of the web, the results of a search, or what was found within a page."""

    PAGE = "page"
    SEARCH = "search"
    FIND = "find"


@dataclass(frozen=True, slots=True)
class Passage:
    """Lines of a page as the model saw them, each with its number, or with None in the results of a search."""

    title: str
    url: str
    lines: tuple[tuple[int | None, str], ...]
    key: object
    """Equal for passages of the same source."""
    site: str = ""
    """The site as the results of a search name it: what there is to say of it without a URL."""


@dataclass
class Page:
    """A page as a display of the browser shows it. `title` and `url` are as it has them: untrusted."""

    cursor: int
    kind: Kind
    title: str
    url: str
    text: str
    links: dict[int, str] = field(default_factory=dict)
    """The URLs of those links that the model has opened."""

    @cached_property
    def lines(self) -> dict[int, str]:
        """The lines that are shown, by number."""
        return {int(number): line for number, line in _LINE.findall(self.text)}

    def passage(self, first: int | None, last: int | None) -> Passage:
        """What is meant by these lines, or by the page if none are named: of what was found within a page the lines of
        that page, and of the results of a search the one that stands there."""
        if self.kind is Kind.SEARCH:
            return self._result(first, last)
        lines = self._cited(first, last)
        title, url = self.title, self.url.removeprefix(_VIEW_SOURCE)
        if self.kind is Kind.FIND:
            lines = self._found(lines)
            url = url.rpartition(_FIND)[0]
            searched = _SEARCHED.search(title)
            title = searched["title"] if searched else title
        return Passage(title, url, tuple(lines), url.partition("#")[0] or (self.kind, title))

    def _cited(self, first: int | None, last: int | None) -> list[tuple[int | None, str]]:
        """The lines that are named and were shown."""
        if first is None or last is None:
            return []
        numbers = self._numbers[bisect_left(self._numbers, first) : bisect_right(self._numbers, last)]
        return [(number, self.lines[number]) for number in numbers]

    def _found(self, lines: Iterable[tuple[int | None, str]]) -> list[tuple[int | None, str]]:
        """Lines of a list of matches as those of the page in which they were found."""
        found: dict[int | None, str] = {}
        for number, line in lines:
            if number is not None and (at := bisect_right(self._matches, number)):
                below = number - self._matches[at - 1]
                match = _MATCH.match(self.lines[self._matches[at - 1]])
                assert match is not None
                if below:
                    if line.strip():
                        found[int(match["line"]) + below - 1] = line
                else:
                    found.setdefault(int(match["line"]), self.lines.get(number + 1, ""))
        return sorted(found.items(), key=lambda item: item[0] or 0)

    def _result(self, first: int | None, last: int | None) -> Passage:
        """The result in these lines, or else in the one above them; all of the search where none is meant."""
        lines = self._cited(first, last)
        at = bisect_right([line for line, _ in self._results], -1 if first is None else first)
        at = at or (1 if self._results and last is not None and self._results[0][0] <= last else 0)
        shown = tuple((None, line) for _, line in lines)
        if not at:
            return Passage(self.title, "", shown, (Kind.SEARCH, self.cursor))
        _, link = self._results[at - 1]
        number, url = int(link["id"]), self.links.get(int(link["id"]), "")
        key = url.partition("#")[0] or (Kind.SEARCH, self.cursor, number)
        return Passage(link["title"], url, shown, key, link["site"] or "")

    @cached_property
    def _numbers(self) -> list[int]:
        return sorted(self.lines)

    @cached_property
    def _matches(self) -> list[int]:
        """The lines in which something that was found begins."""
        return [number for number in self._numbers if _MATCH.match(self.lines[number])]

    @cached_property
    def _results(self) -> list[tuple[int, re.Match[str]]]:
        """The links, each with the line in which it begins: where lines are cut they may be, too."""
        lines = [self.lines[number] for number in self._numbers]
        starts = list(accumulate(map(len, lines), initial=0))[:-1]
        links = _LINK.finditer("".join(lines))
        return [(self._numbers[bisect_right(starts, link.start()) - 1], link) for link in links]


def pages_of(messages: Iterable[Message], before: dict[int, Page] | None = None) -> dict[int, Page]:
    """The pages that were shown in these messages, by cursor, the newest last; added to those of `before`, if given.

    The display of a search has no URLs: that of a result is known once the model has opened it.
    """
    pages = {} if before is None else before
    call: Message | None = None
    for message in messages:
        if message.role is Role.ASSISTANT and message.calls_tool:
            call = message
        elif message.role is Role.TOOL and (page := _page(message)) is not None:
            if call is not None and page.kind is Kind.PAGE:
                _opened(call, page.url, pages)
            pages.pop(page.cursor, None)  # the newest is the last
            pages[page.cursor] = page
    return pages


def _page(message: Message) -> Page | None:
    """What a message shows, None if that is no page: of another tool, or of something that went wrong."""
    kind = {"browser.search": Kind.SEARCH, "browser.open": Kind.PAGE, "browser.find": Kind.FIND}.get(message.name or "")
    header = _HEADER.match(message.text)
    if kind is None or header is None:
        return None
    title, url = header["title"], ""
    if kind is not Kind.SEARCH and (both := _TITLE_AND_URL.fullmatch(title)) is not None:
        title, url = both["title"], both["url"]
    if kind is Kind.PAGE and _SEARCHED.search(title) and _FIND in url:
        kind = Kind.FIND  # scrolled
    return Page(int(header["cursor"]), kind, title, url, message.text[header.end() :])


def _opened(call: Message, url: str, pages: dict[int, Page]) -> None:
    """Note where the link leads that was opened."""
    read = read_call(call)
    arguments = read.arguments if read is not None else {}
    try:
        link, cursor = int(arguments["id"]), int(arguments.get("cursor", -1))
    except (KeyError, TypeError, ValueError, OverflowError):
        return
    page = pages.get(next(reversed(pages), -1) if cursor < 0 else cursor)
    if page is not None:
        page.links[link] = url


def link_to(url: str) -> tuple[str, str]:
    """A URL as it can be linked to, in ASCII and without brackets that end a link in Markdown, and its real host.

    Both are empty unless it is one of http or https that every program reads alike.
    """
    if clean(url) != url or "\\" in url:
        return "", ""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode("ascii")
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:  # UnicodeError is one
        return "", ""
    netloc = f"[{host}]{port}" if ":" in host else f"{host}{port}"
    rest = quote(url.partition("://")[2][len(parts.netloc) :], safe="!#$%&'*+,-./:;=?@_~")
    address = f"{parts.scheme}://{netloc}{rest}"
    return (address, host) if _URL.fullmatch(address) and _HOST.fullmatch(host) else ("", "")


def title_of(title: str) -> str:
    """An untrusted title in one clean line."""
    line = " ".join(clean(title[: 4 * MOST_TITLE]).split())
    return line if len(line) <= MOST_TITLE else f"{line[: MOST_TITLE - 1]}…"
