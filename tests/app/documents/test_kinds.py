"""Files without text to read: each is named for what it is, with what to do instead; text that begins alike is text."""

import gzip
import io
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest

from app.documents.kinds import kind_of


def zipped(*names: str, mime: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, text in [*([("mimetype", mime)] if mime else []), *((name, "x") for name in names)]:
            file.writestr(name, text)
    return data.getvalue()


def tarred() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.txt"))
    return data.getvalue()


OPEN_DOCUMENT = "application/vnd.oasis.opendocument."


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture"),
        (b"GIF89a\1\0\1\0", "a picture"),
        (b"RIFF\1\0\0\0WEBPVP8 ", "a picture"),
        (b"\0\0\0\x18ftypheic\0\0", "a picture"),
        (b"\0\0\0\x18ftypisom\0\0", "sound or video"),
        (b"ID3\x04\0\0", "sound or video"),
        (gzip.compress(b"text"), "an archive"),
        (tarred(), "an archive"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "an archive"),
        (b"\x7fELF\2\1\1\0", "a program"),
        (b"\xcf\xfa\xed\xfe\7\0\0\1", "a program"),
        (b"bplist00\xd1\1\2", "a binary property list"),
        (b"GGUF\3\0\0\0", "a model's weights"),
        (b'\x10\0\0\0\0\0\0\0{"a": {}}', "a model's weights"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "an old Office document (DOC, XLS or PPT)"),
        (b"{\\rtf1\\ansi Hello \\'e9}", "an RTF document"),
        (b"%!PS-Adobe-3.0\n", "a PostScript file"),
        (zipped("[Content_Types].xml", "word/document.xml"), "a Word document (DOCX)"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel table (XLSX)"),
        (zipped("ppt/presentation.xml"), "a PowerPoint presentation (PPTX)"),
        (zipped("content.xml", mime=f"{OPEN_DOCUMENT}text"), "a text document (ODT)"),
        (zipped("content.xml", mime=f"{OPEN_DOCUMENT}spreadsheet"), "a table (ODS)"),
        (zipped("OEBPS/a.xhtml", mime="application/epub+zip"), "an e-book (EPUB)"),
        (zipped("Index/Document.iwa"), "a document of Pages, Numbers or Keynote"),
        (zipped("META-INF/MANIFEST.MF"), "a program"),
        (zipped("a.txt"), "a zip archive"),
        (zipped("word/document.xml")[:60], "a Word document (DOCX)"),
        (zipped(), "a zip archive"),
    ],
)
def test_files_are_named_for_what_they_are(data: bytes, kind: str) -> None:
    named = kind_of(data)
    assert named is not None and named.startswith(kind) and (";" in named or "first" in named)


def test_a_database_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE x (y)")
    assert "SQLite database" in (kind_of((tmp_path / "x.db").read_bytes()) or "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"BMW is a car",
        b"MZ" + b" " * 100,
        b"PKI explained",
        b"ID3v2 tags",
        b'12345678{"a": 1}',
        b"GIF89a is a format",
        b"\xff\xf3\xee text in an older encoding",
        b"\\documentclass{article}",
        b"{ \\rtf is a control word }",
        b"<html>",
    ],
)
def test_text_that_begins_like_another_format_is_text(data: bytes) -> None:
    assert kind_of(data) is None
