"""The text of a PDF file: its pages, forms and notes, and what of it can't be read.

pypdf reads damaged and hostile files, too: each page may fail alone, and whatever it raises becomes one sentence.
"""

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from mlx_model.errors import GptossError
from mlx_model.pdf.forms import attached_files, form_lines, is_unread_form, note_lines

if TYPE_CHECKING:
    from pypdf import PdfReader

MOST_PAGES = 5000
HEADER_WITHIN = 1024
"""Bytes before the header that readers of PDF files accept."""

DAMAGED = "can't be read: the PDF is damaged, or the file is not a PDF; nothing was attached"
LOCKED = "is locked by a password; save a copy without a password and attach that"
LOCKED_OTHERWISE = "is encrypted for a certificate or by a shop's reader and can't be opened; attach a copy that isn't"
TOO_LARGE = "takes too much memory or time to read; attach fewer of its pages"
SCAN = "has no text: it is probably a scan, which needs OCR first"

_HEADER = re.compile(rb"%PDF-\d")
_OBJECT = re.compile(rb"(?<!\d)(\d{1,7}) \d{1,5} obj\b")


class PdfError(GptossError):
    """The text can't be extracted; the message continues a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class PdfText:
    """The text of pages, form and notes; `notes` say in words what of the file is missing in it. `pages` has the text
    of each page by itself."""

    text: str
    notes: tuple[str, ...] = ()
    pages: tuple[str, ...] = field(default=(), compare=False)


@dataclass(slots=True)
class _Pages:
    """What was read of the pages. Where one has no text, a line in brackets stands for it."""

    texts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    partial: list[int] = field(default_factory=list)
    garbled: list[int] = field(default_factory=list)
    unread: tuple[int, int] | None = None


class _Flaws(logging.Handler):
    """What pypdf complains of: it drops a stream that it can't unpack, and says so in its log alone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        self.in_streams = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logger."""
        self.count += 1
        self.in_streams += record.name == "pypdf.filters"


def is_pdf(data: bytes) -> bool:
    """Whether this is a PDF file, perhaps with something before its header, as a broken download has it."""
    start = _start(data)
    if start is None:
        return False
    if not data[:start].strip(b"\xef\xbb\xbf\0\t\n\r\f "):
        return True
    return b"%%EOF" in data[-HEADER_WITHIN:] or not _is_text(data)  # text that shows a PDF is text


def read_pdf(data: bytes, most: int) -> PdfText:
    """Read all pages, with a blank line between them; no more pages once there are `most` characters.

    Raises PdfError for a file that is damaged or locked, or has no text, as a scan.
    """
    from pypdf.errors import FileNotDecryptedError  # only now: it takes a tenth of a second to load

    logger, flaws = logging.getLogger("pypdf"), _Flaws()
    logger.propagate = False  # else each flaw goes to the terminal
    logger.addHandler(flaws)
    try:
        try:
            return _read(data, most, (), flaws)
        except (PdfError, FileNotDecryptedError, NotImplementedError):
            raise
        except Exception:
            # Without its end a file has no table of its objects: with an empty one pypdf looks for them itself.
            return _read(data + _ending(data), most, ("the PDF is damaged: text may be missing",), flaws)
    except PdfError:
        raise
    except FileNotDecryptedError:
        raise PdfError(LOCKED) from None
    except NotImplementedError:
        raise PdfError(LOCKED_OTHERWISE) from None
    except MemoryError:
        raise PdfError(TOO_LARGE) from None
    except Exception:  # the parser fails in any way on a damaged file
        raise PdfError(DAMAGED) from None
    finally:
        logger.removeHandler(flaws)


def _start(data: bytes) -> int | None:
    match = _HEADER.search(data[: HEADER_WITHIN + len(b"%PDF-1")])
    return match.start() if match else None


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _ending(data: bytes) -> bytes:
    size = max((int(number) for number in _OBJECT.findall(data)), default=0) + 1
    return b"\nendstream\nendobj\ntrailer\n<< /Size %d >>\nstartxref\n0\n%%%%EOF\n" % size


def _read(data: bytes, most: int, notes: Sequence[str], flaws: _Flaws) -> PdfText:
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(data))
    pages = _read_pages(reader, most, flaws)
    form = form_lines(reader)
    text = "\n\n".join(pages.texts)
    has_text = len(pages.empty) + len(pages.damaged) + len(pages.garbled) < len(pages.texts)
    if not (has_text or form or pages.remarks):
        raise PdfError(DAMAGED if notes or pages.damaged else _why_empty(pages, reader))
    if form:
        text += "\n\n[form fields]\n" + "\n".join(form)
    if pages.remarks:
        text += "\n\n[notes on the pages]\n" + "\n".join(pages.remarks)
    return PdfText(text, (*notes, *_notes(pages, reader)), tuple(pages.texts))


def _read_pages(reader: "PdfReader", most: int, flaws: _Flaws) -> _Pages:
    pages = _Pages()
    count, length = len(reader.pages), 0
    for number in range(1, count + 1):
        if number > MOST_PAGES:
            pages.unread = (number, count)
            break
        text = _read_page(reader, number, pages, flaws)
        pages.texts.append(text)
        length += len(text)
        if length > most:
            break
    return pages


def _read_page(reader: "PdfReader", number: int, pages: _Pages, flaws: _Flaws) -> str:
    from pypdf.errors import FileNotDecryptedError

    before, before_in_streams = flaws.count, flaws.in_streams
    try:
        page = reader.pages[number - 1]
        text = page.extract_text().strip()
        pages.remarks += [f"page {number}, {line}" for line in note_lines(page)]
    except (MemoryError, FileNotDecryptedError):
        raise
    except Exception:
        text, before = "", -1
    if not text and flaws.count > before:
        pages.damaged.append(number)
        return f"[page {number} is damaged]"
    if not text:
        pages.empty.append(number)
        return f"[page {number} has no text]"
    if _is_garbled(text):
        pages.garbled.append(number)
        return f"[page {number} has letters that can't be read]"
    if flaws.in_streams > before_in_streams:
        pages.partial.append(number)
    return text


def _is_garbled(text: str) -> bool:
    """Whether most of it is no text, since the file doesn't say which letters its fonts draw."""
    letters = [character for character in text if not character.isspace()]
    strange = sum(
        character == "\ufffd" or unicodedata.category(character) in ("Cc", "Co", "Cn") for character in letters
    )
    return 3 * strange > len(letters)


def _why_empty(pages: _Pages, reader: "PdfReader") -> str:
    if is_unread_form(reader):
        return "is an XFA form, which only Adobe's reader shows; print it to a PDF there and attach that"
    if pages.garbled:
        return "has text whose letters can't be told (its fonts lack a Unicode table), so it needs OCR first"
    return SCAN if pages.texts else "has no pages"


def _notes(pages: _Pages, reader: "PdfReader") -> list[str]:
    notes = []
    for numbers, one, several in (
        (pages.empty, "has no text (blank, or a scan)", "have no text (blank, or scans)"),
        (pages.damaged, "is damaged and was not read", "are damaged and were not read"),
        (pages.partial, "is damaged: text may be missing", "are damaged: text may be missing"),
        (pages.garbled, "has letters that can't be read", "have letters that can't be read"),
    ):
        if numbers:
            notes.append(f"{_page_list(numbers)} {one if len(numbers) == 1 else several}")
    if pages.unread:
        notes.append(f"pages {pages.unread[0]:,} to {pages.unread[1]:,} were not read")
    if is_unread_form(reader):
        notes.append("the values of its XFA form were not read")
    if files := attached_files(reader):
        notes.append(f"{files:,} {'file' if files == 1 else 'files'} within it not read")
    return notes


def _page_list(numbers: Sequence[int]) -> str:
    """Pages in words: "page 2", "pages 2, 4 to 9 and 12"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in ranges]
    if len(words) > 12:
        return f"{len(numbers):,} pages, the first of them {numbers[0]:,},"
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"page {listed}" if len(numbers) == 1 else f"pages {listed}"
