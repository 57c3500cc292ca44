"""A page as the model sees it: lines of text with numbered links, cut where the model's training cut them."""

from __future__ import annotations

import textwrap
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from urllib.parse import urlsplit

from mlx_model.text import clean

WIDTH = 80
"""Characters of a line. As OpenAI's simple_browser counts them: an ideograph is one, too."""
MOST_TITLE = 200

# So much of a line is wrapped at once: textwrap needs quadratic time for a line without spaces.
_PIECE = 100 * WIDTH
_WRAPPER = textwrap.TextWrapper(WIDTH, replace_whitespace=False, drop_whitespace=False)

# What marks links may stand nowhere else; invisible characters hide words from `find`, and text from people.
_MARKS = str.maketrans({"【": "〖", "】": "〗", **dict.fromkeys("\u00ad\u200b\u2060\ufeff")})
_DAGGER = str.maketrans("†", "‡")


def plain(text: str) -> str:
    """Untrusted text without what marks a link, without controls and invisible characters."""
    return clean(text.translate(_MARKS))


def one_line(text: str, most: int = MOST_TITLE) -> str:
    """Untrusted text as a title, or as the text of a link: one line, no dagger, not too long."""
    line = " ".join(plain(text[: 4 * most]).translate(_DAGGER).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def host_of(url: str) -> str:
    """The host of a URL with its port, as a link to another site shows it. Empty for what is no URL."""
    try:
        return urlsplit(url.removeprefix("view-source:")).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


@dataclass(frozen=True)
class Page:
    """A page that was opened, the results of a search, or of a search within a page.

    `url` is empty for results of a search. `links` are the URLs behind the numbers of the links in `text`. Of a search
    within a page `matches` are the lines that were found, by the number of their link.
    """

    url: str
    title: str
    text: str
    links: tuple[str, ...] = ()
    matches: tuple[int, ...] = field(default=())

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The text in lines of at most WIDTH characters. A line keeps the space at its end."""
        return tuple(line for line, _ in self._wrapped)

    @cached_property
    def joined(self) -> str:
        """The text without the line breaks that wrapping has made."""
        return "".join(f"{line}\n" if ends else line for line, ends in self._wrapped)

    def start_of(self, line: int) -> int:
        """Where in `joined` a line begins; for the number of lines, where the text ends."""
        return self._starts[line]

    def line_at(self, position: int) -> int:
        """The line in which a position of `joined` is."""
        return min(bisect_right(self._starts, position), len(self._wrapped)) - 1

    @cached_property
    def _wrapped(self) -> list[tuple[str, bool]]:
        """The lines, and of each whether the text has a line break there."""
        wrapped: list[tuple[str, bool]] = []
        for line in self.text.split("\n"):
            if len(line) <= WIDTH and "\t" not in line:
                wrapped.append((line, True))
                continue
            pieces = [piece for start in range(0, len(line), _PIECE) for piece in _wrap(line[start : start + _PIECE])]
            wrapped += [(piece, False) for piece in pieces[:-1]] + [(pieces[-1], True)]
        return wrapped

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(line) + ends for line, ends in self._wrapped)]


def _wrap(line: str) -> list[str]:
    return _WRAPPER.wrap(line) or [""]


class PageWriter:
    """Builds a page's text: the same URL has the same number, and a link to another site names it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._host = host_of(url)
        self._numbers: dict[str, int] = {}

    def link(self, url: str, text: str) -> str:
        """The text as a link to a URL of http or https."""
        number = self._numbers.setdefault(url, len(self._numbers))
        host = host_of(url)
        return f"【{number}†{text}】" if host == self._host else f"【{number}†{text}†{plain(host).translate(_DAGGER)}】"

    def has(self, url: str) -> bool:
        """Whether there is a link to this URL."""
        return url in self._numbers

    def page(self, title: str, body: str, url: str | None = None) -> Page:
        """The page, with its URL in front of the text."""
        shown = self._url if url is None else url
        return Page(shown, one_line(title) or host_of(shown), f"\nURL: {plain(shown)}\n{body}", tuple(self._numbers))
