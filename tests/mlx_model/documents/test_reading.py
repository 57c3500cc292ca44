"""Any file to a document: text here, parsers in a process of their own that ends whatever the file does; the headings
and lists that all formats share."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlx_model.documents import process
from mlx_model.documents.document import (
    Document,
    DocumentError,
    DocumentLocked,
    Heading,
    Page,
    Wanted,
    headings_in,
    listed,
)
from mlx_model.documents.formats import Format
from mlx_model.documents.parsers import parse
from mlx_model.documents.process import read_apart
from mlx_model.documents.reading import read_document
from tests.fixtures.office import docx, paragraph
from tests.fixtures.pdf import encrypted, pdf

ALL = Wanted(1_000_000)


def test_text_is_read_as_lines_and_markdown_has_headings() -> None:
    text = "# One\ntext\n```\n# code\n```\n## Two ##\n"
    document = read_document(text.encode(), "a.md", ALL)
    assert document == Document(
        (Page(1, text),), count=6, headings=(Heading("One", 1, 0, 0), Heading("Two", 2, 0, 5))
    )  # fmt: skip
    assert document.text == text and not document.has_pages
    assert read_document(text.encode(), "a.py", ALL).headings == ()
    assert read_document(b"a,b\n1,2", "a.csv", ALL).count == 2


def test_the_markup_of_a_page_can_be_read_too() -> None:
    html = b"<html><p>x</p></html>"
    assert read_document(html, "a.html", ALL, as_source=True).text == html.decode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture"),
        (b"\0\1\2" * 99, "is a binary file"),
        (b" \n", "is empty"),
    ],
)
def test_what_has_no_text_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DocumentError) as error:
        read_document(data, "x", ALL)
    assert str(error.value).startswith(said)


def test_headings_are_not_the_lines_of_code() -> None:
    page = Page(1, "#no\n# Yes #\n~~~~\n# no\n~~~\n# no\n~~~~~\n ## no\n###\tThree")
    assert headings_in([page]) == (Heading("Yes", 1, 0, 1), Heading("Three", 3, 0, 8))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([2], "page 2"),
        ([2, 3], "pages 2, 3"),
        ([2, 4, 5, 6, 9], "pages 2, 4 to 6 and 9"),
        ([1000, 1001, 1002], "pages 1,000 to 1,002"),
    ],
)
def test_pages_in_words(numbers: list[int], words: str) -> None:
    assert listed("page", numbers) == words


# In a process of its own


def test_the_process_gives_the_same_document_or_error() -> None:
    word = docx(paragraph("# x \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")))
    assert read_apart(word, Format.WORD, ALL) == parse(word, Format.WORD, ALL)
    locked = encrypted(pdf("one", "two"), "RC4-128", user="secret")
    with pytest.raises(DocumentLocked, match="is locked by a password"):
        read_apart(locked, Format.PDF, ALL)
    wanted = Wanted(1000, ((2, 2),), "secret")
    assert read_apart(locked, Format.PDF, wanted) == parse(locked, Format.PDF, wanted)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("import time; time.sleep(60)", "takes more than 0.2 s"),
        ("import os; os.abort()", "too much memory or time"),
        ("print('{')", "too much memory or time"),
    ],
)
def test_a_process_that_hangs_or_dies_is_one_sentence(command: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_SECONDS", 0.2 if "sleep" in command else 60)
    monkeypatch.setattr(process, "READER", (sys.executable, "-c", command))
    with pytest.raises(DocumentError, match=said):
        read_apart(b"x", Format.PDF, ALL)
    monkeypatch.setattr(process, "READER", ("/none",))
    with pytest.raises(DocumentError, match="no process could be started"):
        read_apart(b"x", Format.PDF, ALL)


def test_reading_ends_when_the_chat_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be it in the moment in which the process is made."""
    is_starting, popen = threading.Event(), subprocess.Popen

    def start(*arguments: Any, **keywords: Any) -> Any:
        is_starting.set()
        time.sleep(0.1)  # in which the chat ends
        return popen(*arguments, **keywords)

    command = "import sys, time; sys.stdin.buffer.read(); time.sleep(60)"
    monkeypatch.setattr(process, "READER", (sys.executable, "-c", command))
    monkeypatch.setattr(process, "MOST_SECONDS", 5)
    monkeypatch.setattr(subprocess, "Popen", start)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_apart, b"x", Format.PDF, ALL)
        is_starting.wait()
        process.stop_readers()
        with pytest.raises(DocumentError, match="too much memory or time"):
            reading.result()
    assert not process._readers
