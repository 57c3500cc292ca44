"""What of a document is read, without a screen: the line of the reader, what is marked, and what is searched for."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from app.documents.attachments import Attachment
from app.tui.text.reader_rows import ReaderLines
from mlx_model.documents.document import Document

MARKED = "marked by the person"
"""The note of marked lines, which the model reads."""


class ReadingPlace:
    """`line` is the one that keys move; `whole` is what goes into a prompt for all of the document, None where that is
    too long for any."""

    def __init__(self, name: str, document: Document, whole: Attachment | None) -> None:
        self.name = name
        self.document = document
        self.whole = whole
        self.lines = ReaderLines(document.pages)
        self._headings = {self.lines.line_at(each.page, each.line + 1) for each in document.headings}
        self.line = 0
        self.query = ""
        self._anchor: int | None = None  # where a mark has begun
        self._hits: list[int] = []

    @property
    def marked(self) -> tuple[int, int] | None:
        """The first and the last line that are marked."""
        if self._anchor is None:
            return None
        return min(self._anchor, self.line), max(self._anchor, self.line)

    def go_to(self, line: int, *, marking: bool = False) -> None:
        """Make another line the present one; `marking` marks up to it, else nothing is marked any more."""
        if not marking:
            self._anchor = None
        elif self._anchor is None:
            self._anchor = self.line
        self.line = max(0, min(line, len(self.lines.lines) - 1))

    def mark(self, first: int, last: int) -> None:
        """Mark these lines."""
        self.go_to(last)
        self._anchor = first

    def start_mark(self) -> None:
        """Begin a mark at the present line, which moving extends; or end it, if there is one."""
        self._anchor = self.line if self._anchor is None else None

    def unmark(self) -> bool:
        """Take the mark away; false if there is none."""
        was, self._anchor = self._anchor, None
        return was is not None

    def turn(self, step: int) -> None:
        """Go to the beginning of another page."""
        index = self.lines.page_at(self.line) + step
        self.go_to(self.lines.line_at(max(0, min(index, len(self.lines.pages) - 1)), 0))

    def go_to_page(self, number: int) -> bool:
        """Go to the page of a number, of a document without pages to the line; false if it isn't there."""
        if not self.document.has_pages:
            self.go_to(number - 1)
            return 0 < number <= len(self.lines.lines)
        found = next((n for n, page in enumerate(self.lines.pages) if page.number == number), None)
        if found is not None:
            self.go_to(self.lines.line_at(found, 0))
        return found is not None

    def search(self, words: str) -> int:
        """Go to the first line from the present one on that has these words; returns how many have them."""
        self.query, self._hits = words, self.lines.hits(words)
        if self._hits:
            at = bisect_left(self._hits, self.line)
            self.go_to(self._hits[at % len(self._hits)])
        return len(self._hits)

    def next_hit(self, step: int) -> str:
        """Go to the next line that has them (1), or the one before (-1); returns which of how many that is."""
        if not self._hits:
            return ""
        at = bisect_right(self._hits, self.line) if step > 0 else bisect_left(self._hits, self.line) - 1
        self.go_to(self._hits[at % len(self._hits)])
        return self.hit_number

    @property
    def hit_number(self) -> str:
        """Which hit the present line is, as `2 of 9`; "" if it is none."""
        at = bisect_left(self._hits, self.line)
        is_hit = at < len(self._hits) and self._hits[at] == self.line
        return f"{at + 1:,} of {len(self._hits):,}" if is_hit else ""

    def is_heading(self, line: int) -> bool:
        """Whether it is a heading of the document."""
        return line in self._headings

    def is_hit(self, line: int) -> bool:
        """Whether a line has what is searched for."""
        at = bisect_left(self._hits, line)
        return at < len(self._hits) and self._hits[at] == line

    @property
    def where(self) -> str:
        """Where the present line is, in words."""
        page = self.document.pages[self.lines.page_at(self.line)]
        if self.document.has_pages:
            return f"{self.document.unit} {page.number:,} of {self.document.count:,}"
        return f"line {self.line + 1:,} of {len(self.lines.lines):,}"

    def attachment(self) -> Attachment:
        """The lines that are marked, or the present one, to go with a prompt."""
        first, last = self.marked or (self.line, self.line)
        return Attachment(f"{self.name}, {self.lines.where(first, last)}", self.lines.text(first, last), MARKED)


@dataclass(frozen=True, slots=True)
class Target:
    """Where in a document to begin: a page, its index; lines of it, from 1; or the words that stand there."""

    page: int = 0
    lines: tuple[int, int] = (0, 0)
    quote: str = ""


def go_to_target(place: ReadingPlace, target: Target) -> None:
    """Go to it, and mark it if it is more than a page."""
    if target.quote and (found := place.lines.lines_with(target.quote, target.page)) is not None:
        place.mark(*found)
        return
    page = max(0, min(target.page, len(place.lines.pages) - 1))
    first, last = (place.lines.line_at(page, number) for number in target.lines)
    if target.lines[0]:
        place.mark(first, last)
    else:
        place.go_to(first)
