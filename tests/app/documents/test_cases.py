"""Files that people have attached, and what the program has to make of them."""

import pytest

from app.documents.attachments import AttachmentError, AttachmentLocked
from app.documents.files import read
from mlx_model.documents.parsers import parse
from mlx_model.text import clean
from tests.fixtures import FIXTURES

CASES = FIXTURES / "data" / "documents"
BILL = "[page 1]\nWater bill for May\nTotal due 41.20 euro"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are parsed in this process, which is faster."""
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        (
            "pdf-form-filled.pdf",
            "[page 1]\nClaim form\nName:\nAmount:\nAgree:\n\n[form fields]\nname: Ada Example\namount: 1234.56\n"
            "agree: ticked",
            "1 page",
        ),
        (
            "pdf-mixed-scan.pdf",
            "[page 1]\nLease, page one of three\n\n[page 2]\n[a picture without text: a scan]\n\n"
            "[page 3]\nLease, page three: signatures",
            "3 pages; page 2 is a picture without text (a scan)",
        ),
        *((f"pdf-{name}.pdf", BILL, "1 page") for name in ("junk-before", "newline-before", "trailing")),
        *(
            (f"pdf-owner-{name}.pdf", BILL, "1 page")
            for name in ("AES-128", "AES-256", "AES-256-R5", "RC4-40", "RC4-128")
        ),
        ("pdf-no-xref.pdf", BILL, "1 page; the PDF is damaged: text may be missing"),
        ("macroman.txt", "D\u00e9j\u00e0 vu \u00e0 l\u2019\u00e9t\u00e9", "read as MACINTOSH"),
        ("sjis.txt", "\u3053\u308c\u306f\u65e5\u672c\u8a9e", "read as SHIFT_JIS"),
        ("utf16le-nobom.txt", "Name;Ort\nD\u00e9j\u00e0 vu", "read as UTF-16 without a byte order mark"),
        ("onenul.log", "line one\nline  two\n", "3 NUL bytes left out"),
        ("ansi.log", "red ok\n", "escape sequences (colours) left out"),
    ],
)
def test_what_is_read(name: str, text: str, note: str) -> None:
    attachment = read(CASES / name, name)
    assert attachment.text.startswith(text) and attachment.note == note
    assert clean(attachment.text) == attachment.text  # no control character for the screen


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pdf-all-scan.pdf", "has no text: it is probably a scan, which needs OCR first"),
        ("pdf-truncated.pdf", "can't be read: the PDF is damaged"),
        ("gbk.txt", "is not UTF-8 (line 1); it may be GB18030"),
        ("rtf.rtf", "is an RTF document; save it as text or PDF first"),
        ("cp1252.txt", "is not UTF-8 (line 1); it may be WINDOWS-1252"),
        ("cp1251.txt", "is not UTF-8 (line 1); it may be WINDOWS-1251"),
    ],
)
def test_what_is_refused_and_how_it_is_named(name: str, said: str) -> None:
    """An encoding that can't be told for certain is named and never guessed."""
    with pytest.raises(AttachmentError) as error:
        read(CASES / name, name)
    assert str(error.value).startswith(f"{name} {said}")


def test_a_password_is_asked_for() -> None:
    with pytest.raises(AttachmentLocked, match="is locked by a password"):
        read(CASES / "pdf-user-RC4-128.pdf")
