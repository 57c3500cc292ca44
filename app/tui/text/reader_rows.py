"""A document as lines to read, and these as rows of a width: which part of which line each row shows.

A document of a thousand pages has some fifty thousand lines. Only where each row begins is worked out for all of them;
the rows themselves are made when they are drawn.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import get_character_cell_size

from mlx_model.documents.document import Page
from mlx_model.documents.quotes import QuoteIndex, lines_of
from mlx_model.text import clean

_PLAIN = re.compile(r"[\x20-\x7e\xa0-\xac\xae-\u02ff\u0370-\u0482\u2010-\u2027\u2030-\u205e]*")
"""Text of Latin, Greek or Cyrillic, each letter of which takes one column."""


class Row(NamedTuple):
    """The characters from `start` up to `end` of a line."""

    line: int
    start: int
    end: int


class ReaderLines:
    """The lines of all pages one after the other: above those of a page with a label stands the label, below them an
    empty line."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = pages
        self.lines: list[str] = []
        self._starts: list[int] = []  # the line of each page's label, or its first one where it has none
        for page in pages:
            self._starts.append(len(self.lines))
            text = clean(page.text).removesuffix("\n").expandtabs(4).split("\n")  # a closing newline begins no line
            self.lines += [clean(page.label), *text, ""] if page.label else text
        if self.lines and pages[-1].label:
            self.lines.pop()

    def page_at(self, line: int) -> int:
        """The index of the page that has a line."""
        return bisect_right(self._starts, line) - 1

    def is_label(self, line: int) -> bool:
        """Whether it is not of the document, but says which page begins."""
        index = self.page_at(line)
        return bool(self.pages[index].label) and self._starts[index] == line

    def number(self, line: int) -> int:
        """The number of a line on its page, from 1; 0 for a label."""
        index = self.page_at(line)
        return line - self._starts[index] + (not self.pages[index].label)

    def line_at(self, index: int, number: int = 1) -> int:
        """The line of a page that has this number there, or the nearest one that the page has."""
        last = self._starts[index + 1] - 1 if index + 1 < len(self._starts) else len(self.lines) - 1
        return max(self._starts[index], min(self._starts[index] + number - (not self.pages[index].label), last))

    def text(self, first: int, last: int) -> str:
        """These lines, of several pages with the labels between them."""
        lines = (f"[{self.lines[n]}]" if self.is_label(n) else self.lines[n] for n in range(first, last + 1))
        return "\n".join(lines).strip("\n")

    def where(self, first: int, last: int) -> str:
        """Which lines these are, in short: `page 4, lines 12-31`."""
        a, b = self.page_at(first), self.page_at(last)
        start, end = max(1, self.number(first)), max(1, self.number(last))
        if a != b:
            return f"{clean(self.pages[a].label)} to {clean(self.pages[b].label)}"
        lines = f"line {start}" if start == end else f"lines {start}-{end}"
        return ", ".join(filter(None, (clean(self.pages[a].label), lines)))

    def hits(self, words: str) -> list[int]:
        """The lines that have these words, whatever their case; if none has all of them in one, the line in which they
        begin."""
        asked = " ".join(words.split()).casefold()
        if not asked:
            return []
        found = [n for n, line in enumerate(self.lines) if asked in line.casefold() and not self.is_label(n)]
        return found or [line for line, _ in filter(None, [self.lines_with(words)])]

    def lines_with(self, quote: str, near: int = 0) -> tuple[int, int] | None:
        """The first and the last line of a quote, which is looked for from the page with the index `near` on."""
        texts = [page.text for page in self.pages]
        if (place := QuoteIndex(texts).find(quote, near)) is None:
            return None
        first, _ = lines_of(texts[place.text], place.start, place.start)
        last, _ = lines_of(texts[place.last_text], place.end, place.end)
        return self.line_at(place.text, first), self.line_at(place.last_text, last)


class ReaderRows:
    """The rows of lines, `width` columns wide. Lines are broken at spaces where they have some."""

    def __init__(self, lines: Sequence[str], width: int) -> None:
        self._lines = lines
        self._first = array("L")  # the first row of each line
        self._starts = array("L")  # where each row begins in its line
        for line in lines:
            self._first.append(len(self._starts))
            self._starts.extend(_row_starts(line, width))

    def __len__(self) -> int:
        return len(self._starts)

    def row(self, number: int) -> Row:
        """One of them, counted from 0."""
        line = bisect_right(self._first, number) - 1
        is_last = number + 1 == len(self._starts) or self._starts[number + 1] == 0
        return Row(line, self._starts[number], len(self._lines[line]) if is_last else self._starts[number + 1])

    def first_of(self, line: int) -> int:
        """The first row of a line."""
        return self._first[line]

    def last_of(self, line: int) -> int:
        """The last row of a line."""
        return (self._first[line + 1] if line + 1 < len(self._first) else len(self._starts)) - 1


def _row_starts(line: str, width: int) -> Iterator[int]:
    width = max(1, width)
    yield 0
    is_plain = line.isascii() or _PLAIN.fullmatch(line) is not None
    start = 0
    while (end := start + width if is_plain else _end(line, start, width)) < len(line):
        space = line.rfind(" ", start + 1, end + 1)
        start = space + 1 if space > start + width // 3 else end
        if start >= len(line):
            return
        yield start


def _end(line: str, start: int, width: int) -> int:
    """Up to where a line fits from `start` on; one character fits in any case."""
    end = start
    while end < len(line):
        width -= get_character_cell_size(line[end])
        if width < 0 and end > start:
            break
        end += 1
    return end
