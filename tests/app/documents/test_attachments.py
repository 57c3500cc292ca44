"""Files in a prompt: what is read, what is refused and why, no file forges where it ends, names while typing."""

import os
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from app.documents import attachments
from app.documents.attachments import Attachment, AttachmentError, find, join, read, split
from app.documents.mentions import candidates, mention, written
from mlx_model.pdf.reading import read_pdf
from tests.fixtures.pdf import pdf


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """PDF files are read in this process, which is faster."""
    monkeypatch.setattr("mlx_model.pdf.process.read_apart", read_pdf)


# Reading


@pytest.mark.parametrize(
    ("data", "attachment"),
    [
        (b"plain\r\n", Attachment("x", "plain\n")),
        (pdf("Hello PDF", "page two"), Attachment("x", "Hello PDF\n\npage two")),
        (
            b"\n" + pdf("one", ""),
            Attachment("x", "one\n\n[page 2 has no text]", "page 2 has no text (blank, or a scan)"),
        ),
        (
            b"\x1b[1mbold" + b"." * 60 + b"\0",
            Attachment("x", "bold" + "." * 60, "1 NUL byte left out; escape sequences (colours) left out"),
        ),
    ],
)
def test_a_file_is_read_and_what_is_missing_is_said(tmp_path: Path, data: bytes, attachment: Attachment) -> None:
    file = tmp_path / "a file.txt"
    file.write_bytes(data)
    assert read(file, "x") == attachment


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture; the model reads text alone"),
        (bytes(range(1, 256)), "is a binary file; only text, code and PDF files can be attached"),
        ("größe".encode("latin-1"), "is not UTF-8 (line 1); it may be WINDOWS-1252"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"x" * 1_000_001, "has 1.0 MB; at most 1 MB of text"),
        (b"x" * 4_000_001, "has 4.0 MB; at most 1 MB of text"),
        (pdf(""), "has no text: it is probably a scan"),
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
    (tmp_path / "dangling").symlink_to("nowhere")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5_000_000_000)
    for path, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "none", "there is no file"),
        (tmp_path / "none" / "none", "there is no file"),
        (tmp_path / "dangling", "is a link to a file that isn't there"),
        (tmp_path / "pipe", "is a pipe, not an ordinary file; pipe it in"),
        (Path("/dev/zero"), "is a device, not an ordinary file"),
        (tmp_path / "ring", "can't be read"),
        (tmp_path / "n\0ul", "can't be read"),
        (tmp_path / ("x" * 300), "can't be read"),
        (tmp_path / "sparse", "has 5,000.0 MB; at most 1 MB of text"),
    ):
        with pytest.raises(AttachmentError, match=said):
            read(path)
    (tmp_path / "secret").write_text("x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(AttachmentError, match="can't be read: Permission denied"):
        read(tmp_path / "secret")


def test_a_path_that_becomes_a_pipe_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    before = (tmp_path / "file").stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: before)
    with pytest.raises(AttachmentError, match="is a pipe"):
        read(tmp_path / "pipe")


def test_a_file_that_grows_is_not_read_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MOST_PDF_BYTES", 100)
    (tmp_path / "log").write_text("x" * 90)
    status = (tmp_path / "log").stat()
    (tmp_path / "log").write_text("x" * 200)
    monkeypatch.setattr(os, "fstat", lambda _: status)
    with pytest.raises(AttachmentError, match="has more than"):
        read(tmp_path / "log")


def test_a_file_that_gives_nothing_now_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/kmsg: an ordinary file by its kind, and without an end."""
    (tmp_path / "file").write_text("x")
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    monkeypatch.setattr(os, "open", lambda *_: ends[0])
    status = (tmp_path / "file").stat()
    monkeypatch.setattr(os, "fstat", lambda _: status)
    with pytest.raises(AttachmentError, match="it has no data now"):
        read(tmp_path / "file")
    os.close(ends[1])


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


def test_the_model_reads_the_same_note_as_the_person() -> None:
    files = [Attachment("a.pdf", "text", "page 2 has no text"), Attachment('x"; y', "z"), Attachment("b", "z", "n; m]")]
    prompt = join("Sum up", files)
    assert prompt.startswith('Sum up\n\n[file "a.pdf"; page 2 has no text]\n```\ntext\n```\n\n[file "x"; y"]\n')
    assert split(prompt) == ("Sum up", files)
    for header in ('[file "a" note]', '[file "a"; ]', "[file a]"):
        assert split(f"{header}\n```\nx\n```") == (f"{header}\n```\nx\n```", [])


PIECES = st.lists(
    st.sampled_from(["`", "```", "````", "\n", "\n\n", '[file "x"]', '[file "', '"]', "text", " ", "\ud800", "\u2028"]),
    max_size=12,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    PIECES,
    st.lists(
        st.builds(
            Attachment, st.sampled_from(["a", 'b"c', 'b"; c']), PIECES, st.sampled_from(["", "n", "; n]", "[file '"])
        ),
        max_size=3,
    ),
)
def test_no_file_can_forge_where_it_ends(text: str, files: list[Attachment]) -> None:
    assume(split(text) == (text, []))
    assert split(join(text, files)) == (text, files)


@settings(max_examples=300, deadline=None)
@example('[file "x"]\n````\n\n````')
@given(PIECES)
def test_taking_a_prompt_apart_loses_nothing(prompt: str) -> None:
    assert join(*split(prompt)) == prompt


@pytest.mark.parametrize("piece", ['\n\n[file "x"]\n```\n', '\n\n[file "x"]\n```\ny\n```', "\n```\n", "`"])
def test_taking_a_hostile_prompt_apart_does_not_hang(piece: str) -> None:
    prompt = piece * (1_000_000 // len(piece)) + "\n```"
    assert join(*split(prompt)) == prompt


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
