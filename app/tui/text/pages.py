"""A long text in pages, so that laying out what is shown takes bounded time however long the text is."""

import re
from bisect import bisect_right
from dataclasses import dataclass

from rich.segment import Segment
from textual.content import Content

from app.tui.text.looks import HEADER, SECONDARY, content_of, look

MAX_CHARS, MAX_LINES = 16_000, 800
"""Characters and lines of a page: ten screens of prose or more. Laying out a page takes a fraction of a second."""
MAX_TEXT = 100_000
"""Characters shown of a plain text that has no pages: laying out so many takes a quarter of a second."""

_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page begins, and the line that opens the code block in which it begins, "" outside of code."""

    start: int = 0
    fence: str = ""


class Pages:
    """The pages of a Markdown text."""

    def __init__(self, source: str = "", before: "Pages | None" = None) -> None:
        """`before` are the pages of a text with which this one begins: only the last of them can have changed."""
        self.source = source
        self._pages: list[Page] = list(before._pages) if before else [Page()]
        while (end := _end(source, self._pages[-1].start)) < len(source):
            last = self._pages[-1]
            self._pages.append(Page(end, _fence(source[last.start : end], last.fence)))

    def __len__(self) -> int:
        return len(self._pages)

    def start(self, number: int) -> int:
        """Where a page begins in the text."""
        return self._pages[number].start

    def number_at(self, at: int) -> int:
        """The page that has this character of the text."""
        return bisect_right(self._pages, at, key=lambda page: page.start) - 1

    def begins_in_code(self, number: int) -> bool:
        """Whether a page goes on with the code block in which the page before ends."""
        return bool(self._pages[number].fence)

    def text(self, number: int) -> str:
        """The Markdown of a page, counted from 0; one that begins within a code block opens it once more."""
        page = self._pages[number]
        end = self._pages[number + 1].start if number + 1 < len(self._pages) else len(self.source)
        text = self.source[page.start : end]
        return f"{page.fence}\n{text}" if page.fence else text


def _end(source: str, start: int) -> int:
    """Where the page that begins at `start` ends: at a paragraph, a line or a word if one ends in its second half."""
    window = source[start : start + MAX_CHARS]
    for line, newline in enumerate(re.finditer("\n", window), 1):
        if line == MAX_LINES:
            window = window[: newline.end()]
            break
    if start + len(window) == len(source):
        return len(source)
    for separator in ("\n\n", "\n", " "):
        if (at := window.rfind(separator)) >= len(window) // 2:
            return start + at + len(separator)
    return start + len(window)


def _fence(text: str, fence: str) -> str:
    """The line that opens the code block in which `text` ends; `fence` is that in which it begins."""
    for match in _FENCE.finditer(text):
        opened = _FENCE.match(fence)
        if opened is None:
            fence = match[0].rstrip()
        elif match[1].startswith(opened[1]) and not match[2].strip():
            fence = ""
    return fence


def page_line(number: int, count: int, width: int) -> Content:
    """The line around a page, counted from 0: which one it is, and what can be clicked, as far as it fits."""
    line = [Segment(f"page {number + 1:,} of {count:,}"[:width], look(SECONDARY, **{HEADER: True}))]
    for label, page in (("first", 0), ("previous", number - 1), ("next", number + 1), ("last", count - 1)):
        if 0 <= page < count and page != number and Segment.get_line_length(line) + len(label) + 2 <= width:
            line.append(Segment("  ", look("", **{HEADER: True})))
            line.append(Segment(label, look(SECONDARY, **{HEADER: True, "@click": f"turn_to({page})"})))
    return content_of(line)


def beginning(text: str) -> str:
    """As much of a plain text as can be shown at once, and how much is left out."""
    more = len(text) - MAX_TEXT
    return f"{text[:MAX_TEXT]}\n\n{left_out(more)}" if more > 0 else text


def left_out(more: int) -> str:
    """How many characters of a text are not shown."""
    return f"\u2026 and {more:,} more characters (the export has them)."
