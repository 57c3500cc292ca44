"""What the model reads of a page: its place in the stack, its title, and so many lines as there is room for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from mlx_model.text import clean
from mlx_model.tools.browser.errors import BrowserError, truncated
from mlx_model.tools.browser.page import Page

VIEW_TOKENS = 1024
"""Tokens of a view, rounded up to a whole line: as in the model's training."""
LEAST_TOKENS = 64
"""Of a view, however little room there is: some lines, or the model would scroll on for nothing."""

Count = Callable[[str], int]
"""How many tokens a text has."""

_ESCAPED = re.compile(r"(?:%[89A-F][0-9A-F])+")
_HEADER = re.compile(r"\[(?P<cursor>\d{1,6})\] (?P<name>[^\n]*)\n\*\*(?:viewing )?lines \[\d+ - \d+\]")


@dataclass(frozen=True, slots=True)
class View:
    """A part of a page: its text for the model, its first and last line, and the number of the page's last line."""

    text: str
    first: int
    last: int
    of: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the beginning of a display says: the page's place in the stack, and `name`, its title and its URL."""

    cursor: int
    name: str

    @property
    def parts(self) -> tuple[str, str]:
        """The title and the URL, which has no spaces; "" for none."""
        title, opening, url = self.name.rpartition(" (")
        return (title, url[:-1]) if opening and url.endswith(")") and " " not in url else (self.name, "")


def view(page: Page, cursor: int, first: int, most_lines: int, count: Count, tokens: int) -> View:
    """The lines from `first` on that have `tokens` tokens, and no more than `most_lines` if that is positive.

    Raises BrowserError for a line that the page doesn't have.
    """
    lines = page.lines
    if first >= len(lines):
        raise BrowserError(f"Invalid location parameter: `{first}`. Cannot exceed page maximum of {len(lines) - 1}.")
    shown = list(_fitting(lines, first, count, max(tokens, LEAST_TOKENS)))
    if most_lines > 0:
        shown = shown[:most_lines]
    last = first + len(shown) - 1
    where = f"**viewing lines [{first} - {last}] of {len(lines) - 1}**"
    text = f"[{cursor}] {header_of(page)}\n{where}\n\n" + "\n".join(shown)
    return View(text, first, last, len(lines) - 1)


def header_of(page: Page) -> str:
    """The title of a page, and its URL if it has one."""
    return f"{page.title} ({readable(page.url)})" if page.url else page.title


def readable(url: str) -> str:
    """A URL as a display has it: not too long, and with letters of other scripts instead of their escapes, where the
    escapes follow from the letters."""

    def letters(match: re.Match[str]) -> str:
        text = unquote(match[0], errors="replace")
        return text if clean(text) == text and text.isprintable() and quote(text) == match[0] else match[0]

    return truncated(_ESCAPED.sub(letters, "".join(clean(url).split())))


def read_header(text: str) -> Header | None:
    """What the beginning of a display says, also of one whose lines were left out; None for any other text."""
    match = _HEADER.match(text)
    return Header(int(match["cursor"]), match["name"]) if match else None


def _fitting(lines: tuple[str, ...], first: int, count: Count, tokens: int) -> Iterator[str]:
    """The numbered lines up to the first that has no room. A token never spans two: each begins with a letter."""
    total = 0
    for number in range(first, len(lines)):
        line = f"L{number}: {lines[number]}"
        yield line
        total += count(f"{line}\n")
        if total > tokens:
            return
