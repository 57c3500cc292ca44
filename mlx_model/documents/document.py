"""What a file is once it is read: the text of its pages, what their text lacks, and its headings."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mlx_model.errors import GptossError

_HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


class DocumentError(GptossError):
    """A file that can't be read; the message continues a sentence that begins with the file's name."""


class DocumentLocked(DocumentError):
    """A file that takes a password: there was none, or a wrong one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a file is to be read: of a PDF the `pages` alone, ranges of their numbers, or all if there are none; no
    more once there are `most` characters. `password` opens it."""

    most: int
    pages: tuple[tuple[int, int], ...] = ()
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a document with a number, from 1. `label` says in words where it is, as `page 4`; "" for a file that
    has no parts, whose lines are those of the file."""

    number: int
    text: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of `level` 1 to 6: where it stands, as an index of the pages and of the lines of that page, from 0."""

    title: str
    level: int
    page: int
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """The pages that were read, of `count`. `unit` is what a page is called: page, slide, sheet, chapter or cell, and
    line for a file without parts. `notes` say in words how the text differs from the file, and what of it is missing.
    """

    pages: tuple[Page, ...]
    unit: str = "line"
    count: int = 1
    notes: tuple[str, ...] = ()
    headings: tuple[Heading, ...] = ()

    @property
    def has_pages(self) -> bool:
        """Whether it has parts to choose by number."""
        return self.unit != "line"

    @property
    def text(self) -> str:
        """All of it, with a line in brackets before each page."""
        return joined(self.pages)


def joined(pages: Iterable[Page]) -> str:
    """Their text, with a line in brackets before each page that has a label."""
    return "\n\n".join(f"[{page.label}]\n{page.text}" if page.label else page.text for page in pages)


def headings_in(pages: Sequence[Page]) -> tuple[Heading, ...]:
    """The headings of Markdown, without the lines in code blocks that look like one."""
    found, fence = [], ""
    for index, page in enumerate(pages):
        for number, line in enumerate(page.text.split("\n")):
            if mark := _FENCE.match(line):
                if not fence:
                    fence = mark[1]
                elif mark[1].startswith(fence) and not line[mark.end() :].strip():
                    fence = ""
            elif not fence and (match := _HEADING.match(line)):
                found.append(Heading(match[2].rstrip("# \t") or match[2], len(match[1]), index, number))
    return tuple(found)


def ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Numbers in ascending order as runs from first to last."""
    ordered = list(numbers)
    breaks = [0, *(n for n, (a, b) in enumerate(pairwise(ordered), 1) if b != a + 1), len(ordered)]
    return ((ordered[a], ordered[b - 1]) for a, b in pairwise(breaks) if b > a)


def listed(unit: str, numbers: Sequence[int]) -> str:
    """Numbers in words: "page 2", "pages 2, 4 to 9 and 12"."""
    runs = list(ranges(numbers))
    words = [f"{a:,}" if a == b else f"{a:,}, {b:,}" if b == a + 1 else f"{a:,} to {b:,}" for a, b in runs]
    if len(words) > 12:
        return f"{len(numbers):,} {unit}s, the first of them {numbers[0]:,},"
    whole = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{unit if len(numbers) == 1 else f'{unit}s'} {whole}"
