"""Which parser a file gets: told from its bytes, never from the name of a file that says otherwise."""

import json

import pytest

from mlx_model.documents.formats import Format, format_of
from tests.fixtures.office import docx, epub, open_document, pptx, xlsx, zipped
from tests.fixtures.pdf import pdf

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (pdf("x"), "x.txt", Format.PDF),
        (docx(""), "x.zip", Format.WORD),
        (docx("")[:60], "x.docx", None),
        (zipped({"word/document.xml": "x"})[:60], "x", Format.WORD),
        (pptx([]), "", Format.SLIDES),
        (xlsx({"a": ""}), "", Format.SHEETS),
        (open_document(""), "", Format.OPEN_DOCUMENT),
        (open_document("", "presentation"), "", Format.OPEN_DOCUMENT),
        (open_document("", "spreadsheet"), "", Format.SHEETS),
        (epub("x"), "", Format.BOOK),
        (zipped({"a.txt": "x"}), "a.docx", None),
        (OLE + "Workbook\0".encode("utf-16-le"), "", Format.SHEETS),
        (OLE + "EncryptedPackage\0".encode("utf-16-le"), "", Format.LOCKED_OFFICE),
        (OLE + "WordDocument\0".encode("utf-16-le"), "x.xls", None),
        (b"<!-- x --> <!DOCTYPE html><p>x", "x", Format.HTML),
        (b"\xef\xbb\xbf<html lang='de'>", "x", Format.HTML),
        (b"<p>x</p>", "x.HTML", Format.HTML),
        (b"<p>x</p>", "x.txt", None),
        (b"no markup", "x.html", None),
        (json.dumps({"cells": [], "nbformat": 4}).encode(), "x", Format.NOTEBOOK),
        (b'{"cells": []}', "x.ipynb", None),
        (b"# text", "x.md", None),
    ],
)
def test_the_format_of_a_file(data: bytes, name: str, kind: Format | None) -> None:
    assert format_of(data, name) is kind
