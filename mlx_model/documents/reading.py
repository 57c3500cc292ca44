"""Any file to a document: text is read here, everything that takes a parser in a process of its own."""

import re

from mlx_model.documents import process
from mlx_model.documents.decoding import NotText, decode
from mlx_model.documents.document import Document, DocumentError, Page, Wanted, headings_in
from mlx_model.documents.formats import Format, format_of
from mlx_model.documents.kinds import kind_of

_MARKDOWN = re.compile(r"\.(?:md|markdown|mdown|mkd|qmd|rmd)$", re.IGNORECASE)


def read_document(data: bytes, name: str, wanted: Wanted, *, as_source: bool = False) -> Document:
    """The document of a file with this content and name. `as_source` reads HTML as it is, with its markup.

    Raises DocumentLocked where it takes a password, DocumentError for what can't be read or has no text.
    """
    kind = format_of(data, name)
    if kind is None or (kind is Format.HTML and as_source):
        return _text(data, name)
    return process.read_apart(data, kind, wanted)


def _text(data: bytes, name: str) -> Document:
    """The lines of the file: nothing in them is changed but what a terminal alone understands."""
    if (kind := kind_of(data)) is not None:
        raise DocumentError(f"is {kind}")
    try:
        decoded = decode(data)
    except NotText as error:
        raise DocumentError(str(error)) from None
    if not decoded.text.strip():
        raise DocumentError("is empty")
    pages = (Page(1, decoded.text),)
    lines = decoded.text.removesuffix("\n").count("\n") + 1
    return Document(pages, "line", lines, decoded.notes, headings_in(pages) if _MARKDOWN.search(name) else ())
