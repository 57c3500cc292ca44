"""Citations of files in an answer, as `[p. 4]`: the place that is meant, and whether what is quoted beside it is there.

A file that stands in a prompt has its pages, slides, sheets, chapters or cells labelled, so an answer can name them.
What a model quotes in its answer is looked for in the text that it was given.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from app.documents.attachments import Attachment
from app.documents.cells import rows_of
from app.documents.cited_pages import pages_in
from app.documents.notes import as_read
from app.lines import one_line
from mlx_model.documents.document import Heading, headings_in
from mlx_model.documents.quotes import QuoteIndex, folded, lines_of

LEAST_WORDS = 3
"""Of a quote: fewer are a name in quotation marks, not the words of a page."""
MOST_QUOTE, MOST_BETWEEN = 2000, 100
"""Characters of a quote, and between it and its citation."""

_NUMBERS = r"(?P<first>\d{1,7})(?:\s*[-\u2010-\u2015]\s*(?:L|pp?\.\s*)?(?P<last>\d{1,7}))?"
_UNIT = r"(?P<unit>pp?\.|pages?|slides?|chapters?|cells?|lines?|sheets?|ll?\.|L(?=\d))"
_LINES = r"(?:\s*,?\s*(?:lines?|ll?\.|L)\s*(?P<from>\d{1,7})(?:\s*[-\u2010-\u2015]\s*L?(?P<to>\d{1,7}))?)?"
_FILE = r"(?P<file>[^\[\]\u3010\u3011\n]{1,200}?)[,;:]?\s+"
_CELL = r"\$?[A-Z]{1,3}\$?\d{1,7}"
_SHEET = (
    r"(?:sheet\s+)?[\"'\u201c]?(?P<sheet>[^\[\]\u3010\u3011\n!\"'\u201d]{1,80})[\"'\u201d]?(?:!|,?\s+)"
    rf"(?P<cells>{_CELL}(?::{_CELL})?)"
)
_SECTION = r"(?:(?:sections?|sec\.)(?:\s+|(?=\d))|\u00a7\s*)"
_CITATION = re.compile(
    rf"[\[\u3010](?:(?:{_FILE})??(?:{_UNIT}\s*{_NUMBERS}{_LINES}|{_SECTION}(?P<section>[^\[\]\u3010\u3011\n]{{1,200}}))"
    rf"|{_SHEET})[\]\u3011](?![(\[])",
    re.IGNORECASE,
)
_QUOTES = re.compile(
    r"\u201c(?P<a>[^\u201c\u201d]{1,2000})\u201d|\u201e(?P<b>[^\u201e\u201c\u201d]{1,2000})[\u201c\u201d]"
    r"|\u00ab(?P<c>[^\u00ab\u00bb]{1,2000})\u00bb|(?<!\w)\"(?P<d>[^\"\n]{1,2000})\"(?!\w)"
)
_CODE = re.compile(
    r"(`+)(?!`).*?(?<!`)\1(?!`)|^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\2[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE
)


class Verdict(StrEnum):
    """What became of a citation; the value says it behind the citation, "" where all is well."""

    FOUND = ""
    NO_SUCH_PLACE = "there is no such place"
    NO_SUCH_QUOTE = "quote not found"
    ELSEWHERE = "quote is elsewhere"


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation as it stands in the answer, and what it means: an index of the pages of the attachment, and lines of
    that page, from 1, (0, 0) where it names none. `quote` is what the answer puts in quotation marks beside it."""

    text: str
    attachment: Attachment
    page: int
    lines: tuple[int, int]
    quote: str
    verdict: Verdict
    where: str = ""
    """Where the quote is, if it is elsewhere."""

    @property
    def note(self) -> str:
        """What is to be said of it, "" if nothing is."""
        return f"quote is on {self.where}" if self.where else self.verdict.value

    def to_json(self) -> dict[str, object]:
        """It for other programs; `label` names the page, `note` says what is wrong."""
        return {
            "text": self.text,
            "file": self.attachment.name,
            "label": pages_in(self.attachment)[self.page].label,
            "lines": list(self.lines) if self.lines[0] else None,
            "quote": self.quote,
            "ok": self.verdict is Verdict.FOUND,
            "note": self.note,
        }


class FileCitations:
    """Reads the citations of answers to prompts with these files, the latest last. They are asked for when a text has
    something that looks like a citation."""

    def __init__(self, attachments: Callable[[], Sequence[Attachment]]) -> None:
        self._get = attachments
        self._numbers: dict[Cited, int] = {}

    def of(self, text: str) -> list[Cited]:
        """The citations in a text of Markdown, in their order; what names no page or file of these is none."""
        if "[" not in text and "\u3010" not in text:
            return []
        code = [match.span() for match in _CODE.finditer(text)]
        matches = [m for m in _CITATION.finditer(text) if not any(a <= m.start() < b for a, b in code)]
        if not matches:
            return []
        attachments, cited = [*map(as_read, self._get())], []
        for number, match in enumerate(matches):
            before = matches[number - 1].end() if number else 0
            after = matches[number + 1].start() if number + 1 < len(matches) else len(text)
            quote = _quote_beside(text, match.start(), match.end(), before, after)
            if (found := _cited(match, quote, attachments)) is not None:
                cited.append(found)
        return cited

    def pieces(self, text: str, cited: list[Cited]) -> Iterator["str | Cited"]:
        """A piece of a text in pieces, citations apart: those of `cited` that begin in it, which are taken away."""
        at = 0
        while cited and (start := text.find(cited[0].text, at)) >= 0:
            if start > at:
                yield text[at:start]
            at = start + len(cited[0].text)
            yield cited.pop(0)
        if at < len(text):
            yield text[at:]

    def number(self, cited: Cited) -> int:
        """A number by which `at` finds a citation again."""
        return self._numbers.setdefault(cited, len(self._numbers))

    def at(self, number: int) -> Cited | None:
        """The citation of a number."""
        return next((cited for cited, each in self._numbers.items() if each == number), None)


def _cited(match: re.Match[str], quote: str, attachments: Sequence[Attachment]) -> Cited | None:
    places = [
        (each, place) for each in _named(match["file"], attachments) if (place := _place(each, match)) is not None
    ]
    there = [(each, page, lines) for each, (page, lines) in places if page is not None]
    if not there:
        return Cited(match[0], places[0][0], 0, (0, 0), quote, Verdict.NO_SUCH_PLACE) if places else None
    if not quote:
        return Cited(match[0], *there[0], "", Verdict.FOUND)
    found = [(each, page, spot) for each, page, _ in there if (spot := _find(each, quote, page)) is not None]
    for attachment, page, (first, last, lines) in found:
        if first <= page <= last:
            return Cited(match[0], attachment, first, lines, quote, Verdict.FOUND)
    if found:
        attachment, _, (first, _, lines) = found[0]
        label = pages_in(attachment)[first].label
        return Cited(match[0], attachment, first, lines, quote, Verdict.ELSEWHERE, label)
    return Cited(match[0], *there[0], quote, Verdict.NO_SUCH_QUOTE)


def _quote_beside(text: str, start: int, end: int, before: int, after: int) -> str:
    """What stands in quotation marks shortly before a citation, or right behind it, but not beyond its neighbours."""
    quotes = list(_QUOTES.finditer(text, max(before, start - MOST_QUOTE - MOST_BETWEEN), start))
    if quotes and start - quotes[-1].end() <= MOST_BETWEEN and "\n\n" not in text[quotes[-1].end() : start]:
        words = _words(quotes[-1])
    else:
        behind = re.compile(r"\s*[:,]?\s*").match(text, end)
        following = _QUOTES.match(text, behind.end() if behind else end, after)
        words = _words(following) if following else ""
    return words if len(folded(words).split()) >= LEAST_WORDS else ""


def _words(match: re.Match[str]) -> str:
    return next(filter(None, match.group("a", "b", "c", "d")), "")


def _named(name: str | None, attachments: Sequence[Attachment]) -> Iterator[Attachment]:
    """The files that a citation may mean, the latest first; those that it names, if it names any."""
    latest = reversed(attachments)
    if not name:
        yield from latest
        return
    asked = folded(name)
    yield from (each for each in latest if asked and asked in folded(each.name))


def _place(attachment: Attachment, match: re.Match[str]) -> tuple[int | None, tuple[int, int]] | None:
    """The page that is meant, None if there is no such page, and the lines; None for a file without such pages."""
    pages = pages_in(attachment)
    if match["section"]:
        asked = folded(match["section"])
        headings = _headings(attachment)
        named = [heading for heading, title in headings if title == asked]
        named = named or [heading for heading, title in headings if f" {asked} " in f" {title} "]
        if named:
            return named[0].page, (named[0].line + 1, named[0].line + 1)
        return (None, (0, 0)) if headings else None
    if match["sheet"]:
        return _cells(attachment, match["sheet"], match["cells"])
    unit, first = match["unit"].lower().rstrip("s."), int(match["first"])
    unit = {"p": "page", "pp": "page", "l": "line", "ll": "line"}.get(unit, unit)
    if unit == "line":
        return _line(attachment, first, int(match["last"] or first))
    if not any(page.label.startswith(unit) for page in pages):
        return None
    lines = (int(match["from"]), int(match["to"] or match["from"])) if match["from"] else (0, 0)
    found = next((n for n, page in enumerate(pages) if page.number == first and page.label.startswith(unit)), None)
    return found, lines


def _line(attachment: Attachment, first: int, last: int) -> tuple[int | None, tuple[int, int]] | None:
    """Lines of a file without pages, or of the ranges that were attached of it."""
    pages = pages_in(attachment)
    if any(page.label and not page.label.startswith("line") for page in pages):
        return None
    for index, page in enumerate(pages):
        start = page.number if page.label else 1
        if start <= first < start + page.text.count("\n") + 1:
            return index, (first - start + 1, max(first, last) - start + 1)
    return None, (0, 0)


def _cells(attachment: Attachment, sheet: str, cells: str) -> tuple[int | None, tuple[int, int]] | None:
    pages = pages_in(attachment)
    if not any(page.label.startswith("sheet") for page in pages):
        return None
    numbers = [int(number) for number in re.findall(r"\d+", cells)]
    for index, page in enumerate(pages):
        if folded(page.label.split('"')[1]) == folded(sheet):
            rows = [line + 1 for row, line in rows_of(page) if numbers[0] <= row <= numbers[-1]]
            return (index, (rows[0], rows[-1])) if rows else (None, (0, 0))
    return None


@lru_cache(maxsize=8)
def _headings(attachment: Attachment) -> Sequence[tuple[Heading, str]]:
    """The headings of a file, each with its title as titles are compared."""
    return [(heading, folded(heading.title)) for heading in headings_in(pages_in(attachment))]


@lru_cache(maxsize=8)
def _index(attachment: Attachment) -> QuoteIndex:
    return QuoteIndex([page.text for page in pages_in(attachment)])


@lru_cache(maxsize=512)
def _find(attachment: Attachment, quote: str, page: int) -> tuple[int, int, tuple[int, int]] | None:
    """The first and the last page that a quote is on, and its lines on the first."""
    if (place := _index(attachment).find(quote, page)) is None:
        return None
    text = pages_in(attachment)[place.text].text
    end = place.end if place.text == place.last_text else len(text)
    return place.text, place.last_text, lines_of(text, place.start, end)


def flaws(cited: Sequence[Cited]) -> list[str]:
    """What is wrong with citations, a line each."""
    return [
        one_line(f"{each.text}: {each.note}" + (f': "{each.quote}"' if each.quote else ""))
        for each in cited
        if each.note
    ]
