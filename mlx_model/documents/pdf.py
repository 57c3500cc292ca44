"""The text of a PDF file, page by page: its headings, its forms and notes, and what of it can't be read.

pdfium (Chrome's) reads it: text in the order in which it was drawn, with the rows of tables on one line, and a mark
where a word was hyphenated.
"""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from ctypes import create_string_buffer
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from mlx_model.documents.document import Document, DocumentError, DocumentLocked, Heading, Page, Wanted, listed
from mlx_model.documents.pdf_forms import attached_files, is_unread_form, remarks
from mlx_model.documents.pdf_layout import Box, in_rows, zones

if TYPE_CHECKING:
    import pypdfium2

HEADER_WITHIN = 1024
"""Bytes before the header that readers of PDF files accept."""

DAMAGED = "can't be read: the PDF is damaged, or the file is not a PDF; nothing was attached"
LOCKED = "is locked by a password"
WRONG_PASSWORD = "is locked by another password"
LOCKED_OTHERWISE = "is encrypted for a certificate or by a shop's reader and can't be opened; attach a copy that isn't"
SCAN = "has no text: it is probably a scan, which needs OCR first"

_HEADER = re.compile(rb"%PDF-\d")
_OBJECT = re.compile(rb"(?<!\d)(\d{1,7}) (\d{1,5}) obj\b")
_ROOT = re.compile(rb"/Root\s+\d{1,7}\s+\d{1,5}\s+R")
_CATALOG = re.compile(rb"(?<!\d)(\d{1,7} \d{1,5}) obj\b(?:(?!endobj).){0,2000}?/Type\s*/Catalog\b", re.DOTALL)
_KEPT = re.compile(rb"/(?:Encrypt\s+\d+\s+\d+\s+R|ID\s*\[[^\]]{0,400}\])")
_STREAM = re.compile(rb"<<((?:(?!>>\s*stream|endobj).){0,2000})>>\s*stream\r?\n", re.DOTALL)
_FLATE = re.compile(rb"/Filter\s*\[?\s*/FlateDecode\b")
_NUMBERED = re.compile(r"(\d+(?:\.\d+)*)\.?\s+\S")
_NO_TITLE = re.compile(r"^[\W\d_]*$|(?:\. ?){4}|\u2026")
"""A line without letters, and one of a table of contents."""
_NO_LETTERS = str.maketrans("", "", "\x02\ufffe")
"""What pdfium has in place of the hyphen at the end of a line, whose word goes on in the next: it needs none."""

_PASSWORD_ERROR, _SECURITY_ERROR = 4, 5
_LARGER, _MOST_TITLE, _MOST_LEVEL = 1.12, 200, 6
"""The size of a heading's letters beside those of the text; characters and levels that headings have at most."""
_BOLD = re.compile(rb"bold|black|heavy|cmbx|-bd\b|semib", re.IGNORECASE)
_MOST_FONT_NAME = 200


@dataclass(slots=True)
class _Flaws:
    """The numbers of pages that have no text, by the reason."""

    scans: list[int] = field(default_factory=list)
    drawings: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    garbled: list[int] = field(default_factory=list)

    def notes(self) -> list[str]:
        reasons = (
            (self.scans, "a picture without text (a scan)", "pictures without text (scans)"),
            (self.drawings, "a drawing without text", "drawings without text"),
            (self.empty, "empty", "empty"),
            (self.damaged, "damaged: text is missing", "damaged: text is missing"),
        )
        notes = [
            f"{listed('page', pages)} {'is' if len(pages) == 1 else 'are'} {one if len(pages) == 1 else several}"
            for pages, one, several in reasons
            if pages
        ]
        if self.garbled:
            has = "has" if len(self.garbled) == 1 else "have"
            notes.append(f"{listed('page', self.garbled)} {has} letters that can't be read")
        return notes


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    size: float
    """Of its first letter, in points; 0 where it is not known."""
    bold: bool = False


def is_pdf(data: bytes) -> bool:
    """Whether this is a PDF file, perhaps with something before its header, as a broken download has it."""
    match = _HEADER.search(data[: HEADER_WITHIN + len(b"%PDF-1")])
    if match is None:
        return False
    if not data[: match.start()].strip(b"\xef\xbb\xbf\0\t\n\r\f "):
        return True
    return b"%%EOF" in data[-HEADER_WITHIN:] or not _is_text(data)  # text that shows a PDF is text


def read_pdf(data: bytes, wanted: Wanted) -> Document:
    """Raises DocumentLocked without the right password, DocumentError for a file that is damaged or has no text."""
    from pypdfium2 import PdfiumError  # only now: it loads a library of 8 MB

    notes: list[str] = []
    if b"%%EOF" not in data[-4096:].rstrip(b"\0") and b"startxref" not in data[-4096:]:
        notes = ["the PDF is damaged, its end is missing: text may be missing"]
    try:
        try:
            document = _opened(data, wanted.password)
        except PdfiumError as error:
            if error.err_code in (_PASSWORD_ERROR, _SECURITY_ERROR):
                raise
            document = _opened(data + _table_of_objects(data), wanted.password)
            notes = ["the PDF is damaged: text may be missing"]
        with closing(document):
            return _read(document, data, wanted, notes)
    except PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            raise DocumentLocked(WRONG_PASSWORD if wanted.password else LOCKED) from None
        raise DocumentError(LOCKED_OTHERWISE if error.err_code == _SECURITY_ERROR else DAMAGED) from None


def _opened(data: bytes, password: str | None) -> "pypdfium2.PdfDocument":
    from pypdfium2 import PdfDocument

    document = PdfDocument(data, password=password)
    document.init_forms()  # before any page is loaded
    return document


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _table_of_objects(data: bytes) -> bytes:
    """What a file ends with: where its objects are. One without its end lacks that."""
    places = {int(match[1]): (match.start(), int(match[2])) for match in _OBJECT.finditer(data)}
    catalogs, roots = _CATALOG.findall(data), _ROOT.findall(data)
    root = roots[-1] if roots else b"/Root %s R" % catalogs[-1] if catalogs else b""
    start = _HEADER.search(data)
    offset = start.start() if start else 0
    lines = [
        b"%d 1\n%010d %05d n \n" % (number, place - offset, generation)
        for number, (place, generation) in sorted(places.items())
    ]
    kept = b" ".join(dict.fromkeys(_KEPT.findall(data)))
    end = b"\nendstream\nendobj\n"
    trailer = b"trailer\n<< /Size %d %s %s >>\n" % (max(places, default=0) + 1, root, kept)
    at = len(data) + len(end) - offset
    return end + b"xref\n0 1\n0000000000 65535 f \n" + b"".join(lines) + trailer + b"startxref\n%d\n%%%%EOF\n" % at


def _read(document: "pypdfium2.PdfDocument", data: bytes, wanted: Wanted, notes: list[str]) -> Document:
    count, flaws = len(document), _Flaws()
    damaged_streams = _damaged_streams(data)
    texts: list[list[_Line]] = []
    pages: list[tuple[int, list[str]]] = []
    length, fields = 0, set[str]()
    numbers = [number for a, b in wanted.pages or ((1, count),) for number in range(max(1, a), min(b, count) + 1)]
    for number in dict.fromkeys(numbers):
        lines, more = _page(document, number, flaws, fields, is_damaged=damaged_streams > 0)
        texts.append(lines)
        pages.append((number, more))
        length += sum(len(line.text) + 1 for line in lines) + sum(map(len, more))
        if length > wanted.most:
            if rest := [each for each in numbers if each > number]:
                notes = [*notes, f"{listed('page', rest)} {'was' if len(rest) == 1 else 'were'} not read"]
            break
    if not count:
        raise DocumentError("has no pages")
    has_text = any(lines or more for lines, (_, more) in zip(texts, pages, strict=True))
    if not has_text and not wanted.pages:
        raise DocumentError(_why_empty(document, flaws, is_damaged=bool(notes) or damaged_streams > 0))
    if damaged_streams and not flaws.damaged:
        notes = notes or ["the PDF is damaged: text may be missing"]
    whole, headings = _with_headings(texts)
    read = tuple(
        Page(number, "\n".join([*(lines or [_stand_in(number, flaws)] * (not more)), *more]), f"page {number}")
        for lines, (number, more) in zip(whole, pages, strict=True)
    )
    return Document(read, "page", count, (*notes, *flaws.notes(), *_of_the_whole(document)), headings)


def _of_the_whole(document: "pypdfium2.PdfDocument") -> list[str]:
    notes = []
    if is_unread_form(document):
        notes.append("the values of its XFA form were not read")
    if files := attached_files(document):
        notes.append(f"{files:,} {'file' if files == 1 else 'files'} within it not read")
    return notes


def _why_empty(document: "pypdfium2.PdfDocument", flaws: _Flaws, *, is_damaged: bool) -> str:
    if is_unread_form(document):
        return "is an XFA form, which only Adobe's reader shows; print it to a PDF there and attach that"
    if flaws.damaged or (is_damaged and not flaws.scans):
        return DAMAGED
    if flaws.garbled:
        return "has text whose letters can't be told (its fonts lack a Unicode table), so it needs OCR first"
    return SCAN


def _stand_in(number: int, flaws: _Flaws) -> str:
    """What stands in place of a page without text."""
    if number in flaws.scans:
        return "[a picture without text: a scan]"
    if number in flaws.drawings:
        return "[a drawing without text]"
    if number in flaws.garbled:
        return "[letters that can't be read]"
    return "[damaged]" if number in flaws.damaged else "[empty]"


def _page(
    document: "pypdfium2.PdfDocument", number: int, flaws: _Flaws, fields: set[str], *, is_damaged: bool
) -> tuple[list[_Line], list[str]]:
    """The lines of a page, and those of its form and notes."""
    from pypdfium2 import PdfiumError

    try:
        with closing(document[number - 1]) as page:
            more = remarks(document, page, fields)
            with closing(page.get_textpage()) as text:
                lines = _lines(text)
            if not lines:
                _pages_without_text(page, flaws, is_damaged=is_damaged).append(number)
    except PdfiumError:
        flaws.damaged.append(number)
        return [], []
    if lines and _is_garbled("".join(line.text for line in lines)):
        flaws.garbled.append(number)
        return [], more
    return lines, more


def _pages_without_text(page: "pypdfium2.PdfPage", flaws: _Flaws, *, is_damaged: bool) -> list[int]:
    """The list of flaws that a page without text belongs to."""
    import pypdfium2.raw as pdfium

    kinds = {each.type for each in page.get_objects(max_depth=3)}
    if pdfium.FPDF_PAGEOBJ_IMAGE in kinds:
        return flaws.scans
    if kinds:
        return flaws.drawings
    return flaws.damaged if is_damaged else flaws.empty


def _lines(page: "pypdfium2.PdfTextPage") -> list[_Line]:
    """The lines of a page in the order of reading."""
    drawn = list(_drawn(page))
    parts = zones([Box(*page.get_rect(index)) for index in range(page.count_rects())])
    if parts:
        by_zone = [[line for line, box in drawn if zone.holds(box)] for zone in parts]
        if sum(map(len, by_zone)) == len(drawn):  # else lines go across, and have words of both columns
            return [line for lines in by_zone for line in lines]
        texts = (page.get_text_bounded(zone.left, zone.bottom, zone.right, zone.top) for zone in parts)
        lines = (line.translate(_NO_LETTERS).strip() for text in texts for line in text.split("\r\n"))
        return [_part_of([each for each, _ in drawn], line) for line in lines if line]
    if (rows := in_rows([(line.text, box) for line, box in drawn])) is not None:
        return [_Line(row, 0.0) for row in rows]
    return [line for line, _ in drawn]


def _part_of(drawn: Sequence[_Line], text: str) -> _Line:
    """What one column has of a line that goes across, in the letters of that line."""
    for line in drawn:
        if line.text.startswith(text) or line.text.endswith(text):
            return _Line(text, line.size, line.bold)
    return _Line(text, 0.0)


def _drawn(page: "pypdfium2.PdfTextPage") -> Iterator[tuple[_Line, Box]]:
    """The lines as they are drawn, with their places."""
    import pypdfium2.raw as pdfium

    at = 0
    for whole in page.get_text_range().split("\r\n"):
        start, at = at, at + len(whole.encode("utf-16-le", "surrogatepass")) // 2 + 2
        text = whole.translate(_NO_LETTERS).strip()
        if not text:
            continue
        ends = (start + len(whole) - len(whole.lstrip()), start + len(whole.rstrip()) - 1)
        first, last = (pdfium.FPDFText_GetCharIndexFromTextIndex(page.raw, end) for end in ends)
        if first < 0 or last < 0:
            yield _Line(text, 0.0), Box(0.0, 0.0, 0.0, 0.0)
            continue
        left, bottom, _, top = page.get_charbox(first, loose=True)
        right = page.get_charbox(last, loose=True)[2]
        size, bold = pdfium.FPDFText_GetFontSize(page.raw, first), _is_bold(page, first)
        # A font of size 1 is scaled by the page: then its box tells.
        yield _Line(text, size if size > 1 else abs(top - bottom), bold), Box(left, bottom, max(left, right), top)


def _is_bold(page: "pypdfium2.PdfTextPage", index: int) -> bool:
    import pypdfium2.raw as pdfium

    name = create_string_buffer(_MOST_FONT_NAME)
    pdfium.FPDFText_GetFontInfo(page.raw, index, name, _MOST_FONT_NAME, None)
    return _BOLD.search(name.value) is not None


def _is_garbled(text: str) -> bool:
    """Whether most of it is no text, since the file doesn't say which letters its fonts draw."""
    letters = [character for character in text if not character.isspace()]
    strange = sum(
        character == "\ufffd" or unicodedata.category(character) in ("Cc", "Co", "Cn") for character in letters
    )
    return 3 * strange > len(letters)


def _with_headings(pages: Sequence[Sequence[_Line]]) -> tuple[list[list[str]], tuple[Heading, ...]]:
    """The lines of each page as text, and the headings: short lines in larger letters than most of the text has, or
    numbered ones in bold letters. They are written as in Markdown; one of several lines becomes one."""
    letters = Counter[float]()
    for line in chain.from_iterable(pages):
        letters[line.size] += len(line.text) if line.size else 0
    body = max(letters, key=lambda size: letters[size], default=0.0)
    levels = _levels(pages, body)
    texts: list[list[str]] = []
    headings: list[Heading] = []
    for number, page in enumerate(pages):
        lines: list[str] = []
        for level, group in groupby(page, lambda line: levels.get(_look(line, body), 0)):
            titles = [line.text for line in group]
            if level:
                titles = _joined_titles(titles)
                headings += [
                    Heading(title, level, number, at) for at, title in enumerate(titles, len(lines)) if title.strip()
                ]
                titles = [f"{'#' * level} {title}" for title in titles]
            lines += titles
        texts.append(lines)
    return texts, tuple(headings)


def _look(line: _Line, body: float) -> tuple[float, bool]:
    """What tells a line from the text: its size where that is larger, or that it is bold and numbered; 0 if nothing."""
    if not body or not line.size or len(line.text) > _MOST_TITLE or _NO_TITLE.search(line.text):
        return 0.0, False
    if line.size >= _LARGER * body:
        return round(2 * line.size) / 2, False
    return 0.0, line.bold and line.size > 0.95 * body and _NUMBERED.match(line.text) is not None


def _levels(pages: Sequence[Sequence[_Line]], body: float) -> dict[tuple[float, bool], int]:
    """The level of each look of a heading: the largest letters are the first. None if too many lines have one."""
    looks = Counter(_look(line, body) for line in chain.from_iterable(pages))
    plain = looks.pop((0.0, False), 0)
    if 2 * looks.total() > plain + looks.total():
        return {}
    ordered = sorted(looks, key=lambda look: (-look[0], look[1]))
    return {look: min(level, _MOST_LEVEL) for level, look in enumerate(ordered, 1)}


def _joined_titles(lines: Sequence[str]) -> list[str]:
    """Lines of one look that follow each other: those of one title in one, unless each has its number."""
    titles: list[str] = []
    for line in lines:
        if titles and not _NUMBERED.match(line) and len(titles[-1]) + len(line) < _MOST_TITLE:
            titles[-1] += f" {line}"
        else:
            titles.append(line)
    return titles


def _damaged_streams(data: bytes) -> int:
    """How many of the compressed streams can't be unpacked: pdfium leaves those out without a word."""
    if b"/Encrypt" in data:
        return 0
    damaged = 0
    for match in _STREAM.finditer(data):
        if _FLATE.search(match[1]) and b"/Image" not in match[1]:
            try:
                zlib.decompressobj().decompress(data[match.end() : match.end() + 50_000], 1 << 20)
            except zlib.error:
                damaged += 1
    return damaged
