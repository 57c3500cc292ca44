"""Which part of a file is meant, as `paper.pdf:3-7` or `paper.pdf#method`; and which part of one fits."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from app.documents.cells import cut, divided
from app.lines import counted, one_line
from mlx_model.documents.document import Document, Heading, Page, joined, listed, ranges
from mlx_model.errors import GptossError
from mlx_model.tokens import about_tokens

SOURCE = "source"
"""The section of a web page that is its HTML as it is."""
BY_PARTS = "*"
"""Stands behind a name, or a part, that is to be read by parts: notes on it go into the prompt."""
PARTS = (":", "#", "?", BY_PARTS)
"""What parts the name of a file from the part of it that is meant."""
MOST_FOUND_TOKENS = 4000
"""About how many tokens the passages have that are found for some words."""
MOST_NAMED = 8
"""Sections that are named where the one that is meant isn't there."""

_PAGES = re.compile(r"(?P<file>.+?):(?P<pages>\d{1,7}(?:-\d{0,7})?(?:,\d{1,7}(?:-\d{0,7})?)*)")
_SECTION = re.compile(r"(?P<file>.+?)#(?P<section>[^#\n]+)")
_SEARCH = re.compile(r"(?P<file>.+?)\?(?P<words>[^?\n]*\w[^\n]*)")
_NUMBER = re.compile(r"^[\d.]+ ")
_LAST = 10**7


class SelectionError(GptossError):
    """There is no such part; the message continues a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Ranges of pages (of lines, in a file without pages), the section under a heading, or the passages that are found
    for some words; none of them is all of it. `by_parts`: it is longer than the context, and is to be read by parts."""

    pages: tuple[tuple[int, int], ...] = ()
    section: str = ""
    words: str = ""
    by_parts: bool = False


WHOLE = Selection()


def divide(name: str) -> tuple[str, Selection] | None:
    """The name of the file and the part that `name` asks for; None where it asks for none. A `+` stands for a space in
    words that are searched for."""
    if match := _SEARCH.fullmatch(name):
        return match["file"], Selection(words=" ".join(match["words"].replace("+", " ").split()))
    if name.endswith(BY_PARTS) and len(name) > 1:
        file, part = divide(name[:-1]) or (name[:-1], WHOLE)
        return file, replace(part, by_parts=True)
    if match := _PAGES.fullmatch(name):
        return match["file"], Selection(tuple(map(_range, match["pages"].split(","))))
    if match := _SECTION.fullmatch(name):
        return match["file"], Selection(section=match["section"].strip())
    return None


def select(document: Document, selection: Selection) -> tuple[tuple[Page, ...], str]:
    """The pages of a part, and in words what it is of the whole. Raises SelectionError."""
    if selection.words:
        return _found(document, selection.words)
    if selection.section:
        return _section(document, selection.section)
    if not document.has_pages:
        return _lines(document, selection.pages) if selection.pages else (document.pages, "")
    if not selection.pages:
        return document.pages, counted(document.count, document.unit)
    wanted = {number for a, b in selection.pages for number in range(a, min(b, document.count) + 1)}
    pages = tuple(page for page in document.pages if page.number in wanted)
    if not pages:
        raise SelectionError(f"has no {_asked(document, selection.pages)}: it has {_counted(document)}")
    return pages, f"{listed(document.unit, sorted(page.number for page in pages))} of {document.count:,}"


def fitting(document: Document, tokens: int) -> str:
    """The part from the beginning that has no more than about so many tokens, as it is written behind a name; "" if
    all of it does, or not even the first page."""
    parts = ((page.number, joined([page])) for page in document.pages)
    if not document.has_pages:
        parts = ((number, f"{line}\n") for number, line in enumerate(document.pages[0].text.split("\n"), 1))
    taken: list[int] = []
    for number, text in parts:
        tokens -= about_tokens(text)
        if tokens < 0:
            return ":" + written_ranges([(taken[0], taken[-1])]) if taken else ""
        taken.append(number)
    return ""


def written_ranges(pages: Iterable[tuple[int, int]]) -> str:
    """Ranges as a person writes them."""
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in pages)


def sections(document: Document) -> list[tuple[Heading, Page, int]]:
    """The headings, each with the page that it is on and with the tokens of its section, about."""
    under = _Sections(document)
    return [(each, document.pages[each.page], about_tokens(joined(under.of(each)))) for each in document.headings]


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    return int(first), int(last or _LAST) if dash else int(first)


def _asked(document: Document, pages: Sequence[tuple[int, int]]) -> str:
    return f"{document.unit} {written_ranges(pages).replace(str(_LAST), '')}"


def _counted(document: Document) -> str:
    return counted(document.count, document.unit)


def _lines(document: Document, wanted: Sequence[tuple[int, int]]) -> tuple[tuple[Page, ...], str]:
    """Lines as pages, each run with its numbers, so that the model can name them."""
    lines = document.pages[0].text.split("\n")[: document.count]
    numbers = sorted({number for a, b in wanted for number in range(max(1, a), min(b, len(lines)) + 1)})
    if not numbers:
        raise SelectionError(f"has no {_asked(document, wanted)}: it has {_counted(document)}")
    pages = tuple(
        Page(a, "\n".join(lines[a - 1 : b]), f"line {a}" if a == b else f"lines {a} to {b}") for a, b in ranges(numbers)
    )
    return pages, f"{listed('line', numbers)} of {len(lines):,}"


def _found(document: Document, words: str) -> tuple[tuple[Page, ...], str]:
    from app.documents.passages import search  # now: it loads SQLite

    found = search(document, words, MOST_FOUND_TOKENS)
    if not found.passages:
        raise SelectionError(f"has nothing about {one_line(words)}")
    amount = f"{found.passages} of {counted(found.of, 'passage')}"
    return found.pages, f"{amount}, found for '{one_line(words)}'"


def _cells(document: Document, wanted: str) -> tuple[tuple[Page, ...], str] | None:
    """The cells of a sheet, `Sales!A2:D10` or the rows `Sales!2-10`; None where no such sheet is meant."""
    if document.unit != "sheet" or (parts := divided(wanted)) is None:
        return None
    sheet, cells = parts
    heading = next((each for each in document.headings if _folded(each.title) == _folded(sheet)), None)
    if heading is None:
        return None
    page = cut(document.pages[heading.page], cells)
    if page is None:
        raise SelectionError(f"has no values in {one_line(wanted)}; {document.pages[heading.page].label} has them")
    return (page,), f"{one_line(wanted)} of {_counted(document)}"


def _section(document: Document, wanted: str) -> tuple[tuple[Page, ...], str]:
    if (cells := _cells(document, wanted)) is not None:
        return cells
    heading = _heading(document.headings, wanted)
    if heading is None:
        named = ", ".join(one_line(each.title) for each in document.headings[:MOST_NAMED])
        more = ", ..." if len(document.headings) > MOST_NAMED else ""
        other = f"its sections are {named}{more}" if named else f"it has {_counted(document)} and no headings"
        raise SelectionError(f"has no section {one_line(wanted)}; {other}")
    pages = _Sections(document).of(heading)
    numbers = [page.number for page in pages]
    where = f", {listed(document.unit, numbers)} of {document.count:,}" if document.has_pages else ""
    return pages, f"section {one_line(heading.title)}{where}"


def _heading(headings: Sequence[Heading], wanted: str) -> Heading | None:
    """The heading that is meant: by its whole title or number, by how it begins, by what it has in it."""
    asked = _folded(wanted)
    titles = [(heading, _folded(heading.title)) for heading in headings]
    unnumbered = [(heading, _NUMBER.sub("", title)) for heading, title in titles]
    found = [
        *(heading for heading, title in (*titles, *unnumbered) if title == asked),
        *(heading for heading, title in titles if title.startswith((f"{asked} ", f"{asked}. "))),
        *(heading for heading, title in unnumbered if title.startswith(asked)),
        *(heading for heading, title in titles if asked in title),
    ]
    return next(iter(found), None)


def _folded(title: str) -> str:
    return " ".join(re.sub(r"[-_]", " ", title).casefold().split())


class _Sections:
    """What stands under the headings of a document, each up to the next one that is not below it."""

    def __init__(self, document: Document) -> None:
        self._pages = document.pages
        self._lines = [page.text.split("\n") for page in document.pages]  # once: a page may be all of a long file
        self._ends: dict[tuple[int, int], tuple[int, int]] = {}  # by the place of the heading
        behind: dict[int, tuple[int, int]] = {}  # of each level the next heading
        for heading in sorted(document.headings, key=_place_of, reverse=True):
            place = _place_of(heading)
            ends = (at for level, at in behind.items() if level <= heading.level and at > place)
            self._ends[place] = min(ends, default=(len(document.pages), 0))
            behind[heading.level] = place

    def of(self, heading: Heading) -> tuple[Page, ...]:
        """The pages of one, or parts of them, that have any text."""
        end, pages = self._ends[_place_of(heading)], []
        for index in range(heading.page, min(end[0], len(self._pages) - 1) + 1):
            first = heading.line if index == heading.page else 0
            text = "\n".join(self._lines[index][first : end[1] if index == end[0] else None]).strip("\n")
            if text:
                pages.append(replace(self._pages[index], text=text))
        return tuple(pages)


def _place_of(heading: Heading) -> tuple[int, int]:
    return heading.page, heading.line
