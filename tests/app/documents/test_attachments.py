"""Files in a prompt: what is read, what is refused and why, no file forges where it ends, names while typing."""

import os
from io import BytesIO
from pathlib import Path

import bpe_openai
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pypdf import PdfWriter

from app.documents import attachments
from app.documents.attachments import Attachment, AttachmentError, find, join, read, split
from app.documents.mentions import candidates, mention, written
from app.documents.tokens import about_tokens
from tests.fixtures import ROOT


def pdf(*pages: str) -> bytes:
    """A PDF with these texts, written by hand as the format's specification (ISO 32000) has it."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for text in pages:
        drawn = f"BT /F 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F 3 0 R >> >> "
            f"/Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects[1] = f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"
    data, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    tail = f"trailer << /Size {count} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    return f"{data}xref\n0 {count}\n0000000000 65535 f \n{table}{tail}".encode()


def locked_pdf() -> bytes:
    writer, data = PdfWriter(), BytesIO()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(data)
    return data.getvalue()


# Reading


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\n", "plain\n"),
        ("größe\r\nzwei\rdrei".encode(), "größe\nzwei\ndrei"),
        ("\ufeffmark".encode(), "mark"),
        ("wide \u4f60".encode("utf-16"), "wide \u4f60"),
        ("wide".encode("utf-32"), "wide"),
        (b"color \x1b[31mred\x1b[0m" + b"." * 100, "color \x1b[31mred\x1b[0m" + "." * 100),
        (pdf("Hello PDF", "", "page three"), "Hello PDF\n\npage three"),
    ],
)
def test_text_in_every_encoding_and_pdf(tmp_path: Path, data: bytes, text: str) -> None:
    file = tmp_path / "a file.txt"
    file.write_bytes(data)
    assert read(file, "a file.txt") == Attachment("a file.txt", text)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a binary file; only text, code and PDF files can be attached"),
        (bytes(range(1, 256)), "is a binary file"),
        ("größe".encode("latin-1"), "is not UTF-8 (line 1); if it is text in an older encoding, convert it"),
        (b"\xff\xfea", "is not UTF-16 (line 1)"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"x" * 1_000_001, "has 1.0 MB; at most 1 MB of text"),
        (b"x" * 4_000_001, "has 4.0 MB; at most 1 MB of text"),
        (pdf(""), "has no text: it is probably a scan"),
        (locked_pdf(), "is locked by a password"),
        (b"%PDF-1.7\nnothing", "can't be read: the PDF is damaged, or the file is not a PDF; nothing was attached"),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(data)
    with pytest.raises(AttachmentError) as error:
        read(file, "x\x1b\ny")
    assert str(error.value).startswith(f"x\u241b y {said}") and "\n" not in str(error.value)


def test_what_is_no_ordinary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ring").symlink_to("ring")
    for path, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "none", "there is no file"),
        (tmp_path / "none" / "none", "there is no file"),
        (tmp_path / "pipe", "is not an ordinary file"),
        (Path("/dev/zero"), "is not an ordinary file"),
        (tmp_path / "ring", "can't be read"),
        (tmp_path / "n\0ul", "can't be read"),
        (tmp_path / ("x" * 300), "can't be read"),
    ):
        with pytest.raises(AttachmentError, match=said):
            read(path)
    (tmp_path / "secret").write_text("x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(AttachmentError, match="can't be read: Permission denied"):
        read(tmp_path / "secret")


def test_a_long_pdf_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MOST_BYTES", 50)
    (tmp_path / "x.pdf").write_bytes(pdf(*["word " * 5] * 9))
    with pytest.raises(AttachmentError, match="at most"):
        read(tmp_path / "x.pdf")


# In the prompt


def test_the_prompt_that_the_model_reads() -> None:
    files = [Attachment("a.py", "print(1)\n"), Attachment("b.md", "```\n````x\n```")]
    prompt = join("Compare @a.py and @b.md", files)
    assert prompt == (
        'Compare @a.py and @b.md\n\n[file "a.py"]\n```\nprint(1)\n\n```\n\n[file "b.md"]\n`````\n```\n````x\n```\n`````'
    )
    assert split(prompt) == ("Compare @a.py and @b.md", files)
    assert split(join("", files)) == ("", files) and join("", files).startswith("[file")


PIECES = st.lists(
    st.sampled_from(["`", "```", "````", "\n", "\n\n", '[file "x"]', '[file "', '"]', "text", " ", "\ud800", "\u2028"]),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(PIECES, st.lists(st.builds(Attachment, st.sampled_from(["a", 'b"c']), PIECES), max_size=3))
def test_no_file_can_forge_where_it_ends(text: str, files: list[Attachment]) -> None:
    assume(split(text) == (text, []))
    assert split(join(text, files)) == (text, files)


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_taking_a_prompt_apart_loses_nothing(prompt: str) -> None:
    assert join(*split(prompt)) == prompt


@pytest.mark.parametrize("piece", ['\n\n[file "x"]\n```\n', '\n\n[file "x"]\n```\ny\n```', "\n```\n", "`"])
def test_taking_a_hostile_prompt_apart_does_not_hang(piece: str) -> None:
    prompt = piece * (1_000_000 // len(piece)) + "\n```"
    assert join(*split(prompt)) == prompt


def test_the_estimate_of_tokens_is_near_the_count() -> None:
    vocabulary = bpe_openai.get_encoding("o200k_base")
    chinese = "\u8fd9\u662f\u4e00\u4e2a\u5173\u4e8e\u8bed\u8a00\u6a21\u578b\u7684\u8bf4\u660e\u3002" * 20
    for text, least, most in (
        *(
            ((ROOT / name).read_text("utf-8"), 0.8, 1.25)
            for name in ("README.md", "app/cli/main.py", "LICENSE", "Makefile")
        ),
        (chinese, 0.6, 1.6),
    ):
        assert least < about_tokens(text) / len(vocabulary.encode(text)) < most, text[:40]
    assert about_tokens("") == 1 and about_tokens("word " * 12345) % 100 == 0


# Names while typing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    for name in ("notes.txt", "My File.md", "src/main.py", "src/deep/x.py", ".env", "annotated.txt", "No.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (tmp_path / "outside.txt").write_text("x")
    (folder / "link-out").symlink_to(tmp_path / "outside.txt")
    (folder / "link-in").symlink_to("notes.txt")
    (folder / "out-folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("@", (0, "")),
        ("see @no", (4, "no")),
        ('see (@"my f', (5, "my f")),
        ('@"my file.md"', None),
        ("me@home.org", None),
        ("@a b", None),
        ("@@", (0, "@")),
    ],
)
def test_where_a_mention_begins(line: str, found: tuple[int, str] | None) -> None:
    assert mention(line) == found


def test_names_are_completed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert candidates("", folder, 20) == [*("annotated.txt", "link-in", "My File.md", "No.txt", "notes.txt", "src/")]
    assert candidates("NO", folder, 20) == ["No.txt", "notes.txt", "annotated.txt"]
    assert candidates("no", folder, 2) == ["No.txt", "notes.txt"]
    assert candidates("src/", folder, 20) == ["src/deep/", "src/main.py"]
    assert candidates("src/m", folder, 20) == ["src/main.py"]
    assert candidates(".", folder, 1) == [".env"]
    assert candidates("..", folder, 20) == ["../"]
    assert candidates("../o", folder, 1) == ["../outside.txt"]
    assert candidates(f"{folder}/src/m", Path("/"), 20) == [f"{folder}/src/main.py"]
    assert candidates("none/", folder, 20) == [] == candidates("a\0b/", folder, 20)
    assert candidates("out-folder/", folder, 20) == []
    monkeypatch.setenv("HOME", str(folder))
    assert candidates("~/n", Path("/"), 3) == ["~/No.txt", "~/notes.txt", "~/annotated.txt"]
    assert written("a.txt") == "@a.txt" and written("a b") == '@"a b"'


def test_a_relative_name_does_not_leave_the_folder_through_a_link(folder: Path) -> None:
    for name in ("link-out", "out-folder/outside.txt"):
        with pytest.raises(AttachmentError, match="leads out of this folder"):
            find(name, folder)
    for name in ("../outside.txt", str(folder.parent / "outside.txt"), "link-in", "./src/main.py"):
        assert read(find(name, folder)).text == "x"
    for name in ("~nobody-of-that-name/x", "a\0b"):
        with pytest.raises(AttachmentError, match="no file"):
            find(name, folder)
