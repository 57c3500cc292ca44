"""Which format of a document a file has: told from its bytes; the name helps where those are text in any case."""

import re
import zipfile
from enum import StrEnum
from io import BytesIO
from pathlib import PurePath

from mlx_model.documents.notebooks import is_notebook
from mlx_model.documents.pdf import is_pdf

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--(?:(?!-->).){0,2000}-->\s*|<\?xml[^>]{0,200}\?>\s*)*<(?:!doctype\s+html|html[\s>])",
    re.I | re.S,
)
_HTML_NAMES = (".html", ".htm", ".xhtml")
_MIME = re.compile(rb"mimetype(application/[\w.+-]+)")


class Format(StrEnum):
    """What reads a file. Any other file is text, or nothing that has text."""

    PDF = "pdf"
    WORD = "word"
    SLIDES = "slides"
    SHEETS = "sheets"
    OPEN_DOCUMENT = "open document"
    BOOK = "book"
    HTML = "html"
    NOTEBOOK = "notebook"
    LOCKED_OFFICE = "locked office"


def format_of(data: bytes, name: str = "") -> Format | None:
    """The format, None for anything else."""
    if is_pdf(data):
        return Format.PDF
    if data.startswith(b"PK\3\4"):
        return _in_zip(data)
    if data.startswith(_OLE):
        if _has_stream(data, "EncryptedPackage"):
            return Format.LOCKED_OFFICE
        return Format.SHEETS if _has_stream(data, "Workbook") or _has_stream(data, "Book") else None
    if is_notebook(data):
        return Format.NOTEBOOK
    is_named = PurePath(name).suffix.lower() in _HTML_NAMES
    is_markup = _HTML.match(data[:4096]) is not None or (is_named and re.search(rb"</?[a-zA-Z]", data) is not None)
    return Format.HTML if is_markup else None


def _has_stream(data: bytes, name: str) -> bool:
    """Whether an OLE file has a stream of this name, as its directory has it."""
    return re.search(rb"(?<![^\0]\0)" + re.escape(f"{name}\0".encode("utf-16-le")), data) is not None


def _in_zip(data: bytes) -> Format | None:
    """What stands in a zip file tells what the file is."""
    if declared := _MIME.search(data[:200]):
        mime = declared[1].decode()
        if mime == "application/epub+zip":
            return Format.BOOK
        if mime.startswith("application/vnd.oasis.opendocument.spreadsheet"):
            return Format.SHEETS
        if mime.startswith(("application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.pres")):
            return Format.OPEN_DOCUMENT
    try:
        with zipfile.ZipFile(BytesIO(data)) as file:
            names = set(file.namelist())
    except Exception:  # a damaged one, or one that was cut off: by the names that stand before each file
        names = {n.decode("latin-1") for n in re.findall(rb"PK\x03\x04.{26}([\w./\[\]-]{4,80})", data, re.DOTALL)}
    if "META-INF/container.xml" in names:
        return Format.BOOK
    for folder, kind in (("word/", Format.WORD), ("ppt/", Format.SLIDES), ("xl/", Format.SHEETS)):
        if any(name.startswith(folder) for name in names):
            return kind
    return None
