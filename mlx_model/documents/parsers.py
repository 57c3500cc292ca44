"""The parser of each format. They read untrusted files, so they run in a process of their own (process.py)."""

import codecs
import re

from mlx_model.documents.decoding import NotText, decode
from mlx_model.documents.document import Document, DocumentError, Page, Wanted, headings_in
from mlx_model.documents.formats import Format, format_of
from mlx_model.documents.packed import DAMAGED

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)


def parse(data: bytes, kind: Format, wanted: Wanted) -> Document:
    """The document of a file of this format. Raises DocumentError."""
    document = _parsed(data, kind, wanted)
    if sum(len(page.text) for page in document.pages) > 2 * wanted.most:  # a parser stops behind a page, not within
        raise DocumentError(f"has more than {wanted.most / 1e6:,.0f} MB of text; attach a part of it")
    return document


def _parsed(data: bytes, kind: Format, wanted: Wanted) -> Document:
    # Each is loaded only where it is needed: a process reads one file.
    match kind:
        case Format.PDF:
            from mlx_model.documents.pdf import read_pdf

            return read_pdf(data, wanted)
        case Format.WORD:
            from mlx_model.documents.word import read_word

            return read_word(data)
        case Format.SLIDES:
            from mlx_model.documents.slides import read_slides

            return read_slides(data)
        case Format.SHEETS:
            from mlx_model.documents.sheets import read_sheets

            return read_sheets(data, wanted.most)
        case Format.OPEN_DOCUMENT:
            from mlx_model.documents.open_document import read_open_document

            return read_open_document(data)
        case Format.BOOK:
            from mlx_model.documents.books import read_book

            return read_book(data, wanted.most)
        case Format.NOTEBOOK:
            from mlx_model.documents.notebooks import read_notebook

            return read_notebook(data)
        case Format.LOCKED_OFFICE:
            from mlx_model.documents.locked_office import unlocked

            opened = unlocked(data, wanted.password)
            inner = format_of(opened)
            if inner not in (Format.WORD, Format.SLIDES, Format.SHEETS):
                raise DocumentError(DAMAGED)
            return _parsed(opened, inner, wanted)
        case Format.HTML:
            return _web_page(data)


def _web_page(data: bytes) -> Document:
    from mlx_model.documents.markup import to_markdown

    html, notes = _html(data)
    text = to_markdown(html)
    if not text:
        raise DocumentError("has no text: its page is made by a program, or of pictures")
    pages = (Page(1, text),)
    return Document(
        pages, notes=("its text without the markup, which #source attaches", *notes), headings=headings_in(pages)
    )


def _html(data: bytes) -> tuple[str, tuple[str, ...]]:
    """HTML as text, in the encoding that it declares where it is not Unicode."""
    declared = _CHARSET.search(data[:4096])
    try:
        data.decode()
    except UnicodeDecodeError:
        try:
            name = codecs.lookup(declared[1].decode()).name if declared else ""
        except LookupError:
            name = ""
        if name and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            # Browsers take Latin-1 for Windows' encoding, which has letters where Latin-1 has controls.
            text = data.decode("cp1252" if name == "iso8859-1" else name, "replace")
            return text, (f"read as {name.upper()}, which it declares",)
    try:
        decoded = decode(data)
    except NotText as error:
        raise DocumentError(str(error)) from None
    return decoded.text, decoded.notes
