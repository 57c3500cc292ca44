"""Files without text to read: each is named for what it is, with what to do instead; text that begins alike is text."""

import gzip
import io
import sqlite3
import tarfile
from pathlib import Path

import pytest

from mlx_model.documents.kinds import kind_of
from tests.fixtures.office import zipped


def zipped_names(*names: str) -> bytes:
    return zipped(dict.fromkeys(names, "x"))


def tarred() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.txt"))
    return data.getvalue()


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
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", "an old Office document (DOC or PPT)"),
        (b"{\\rtf1\\ansi Hello \\'e9}", "an RTF document"),
        (b"%!PS-Adobe-3.0\n", "a PostScript file"),
        (zipped_names("Index/Document.iwa"), "a document of Pages, Numbers or Keynote"),
        (zipped_names("META-INF/MANIFEST.MF"), "a program"),
        (zipped_names("a.txt"), "a zip archive"),
        (zipped_names(), "a zip archive"),
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
