"""From a name to a part of a prompt: what is read, what is refused and why, which part is chosen, which would fit."""

import os
from pathlib import Path

import pytest

from app.documents import files
from app.documents.attachments import Attachment, AttachmentError, AttachmentLocked
from app.documents.files import attach, meant, read, what_fits
from app.documents.parts import Part, parts, size_of
from app.documents.selection import Selection
from mlx_model.documents.parsers import parse
from tests.fixtures.office import row, xlsx
from tests.fixtures.pdf import Run, drawn, encrypted, pdf


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are parsed in this process, which is faster."""
    monkeypatch.setattr("mlx_model.documents.process.read_apart", parse)
    files._documents.clear()


# Reading


@pytest.mark.parametrize(
    ("data", "attachment"),
    [
        (b"plain\r\n", Attachment("x", "plain\n")),
        (
            pdf("Hello PDF", "page two"),
            Attachment("x", "[page 1]\nHello PDF\n\n[page 2]\npage two", "2 pages", "[p. 1]"),
        ),
        (
            b"\n" + pdf("one", ""),
            Attachment("x", "[page 1]\none\n\n[page 2]\n[empty]", "2 pages; page 2 is empty", "[p. 1]"),
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
        (bytes(range(1, 256)), "is a binary file; only documents, text and code can be attached"),
        ("größe".encode("latin-1"), "is not UTF-8 (line 1); it may be WINDOWS-1252"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"x" * 1_000_001, "has 1.0 MB of text; at most 1 MB can be attached; search it: x"),
        (b"word\n" * 400_001, "has 2.0 MB of text; at most 1 MB can be attached; lines 1-"),
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


def test_a_name_that_says_nothing_is_no_folder(folder: Path) -> None:
    with pytest.raises(AttachmentError, match="the name of the file is empty"):
        attach("", folder)


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
        (tmp_path / "sparse", "has 5,000.0 MB; files of at most 50 MB are read"),
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
    monkeypatch.setattr(files, "MOST_FILE_BYTES", 100)
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
    monkeypatch.setattr(files, "MOST_BYTES", 50)
    (tmp_path / "x.pdf").write_bytes(pdf(*["word " * 5] * 9))
    with pytest.raises(AttachmentError, match="at most"):
        read(tmp_path / "x.pdf")


# A part of a file


PAPER = drawn(
    [
        *(Run("A Paper", size=20), Run("Some words of the text.", y=690)),
        *(Run("1 Method", y=660, size=14), Run("How.", y=640)),
    ],
    [Run("More of how.", y=700), Run("2 Results", y=660, size=14), Run("What came of it, in some words.", y=640)],
    [Run("And more.", y=700)],
)
METHOD = "## 1 Method\nHow."
TEXT = "\n".join(f"line {number}" for number in range(1, 21)) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("paper.pdf", "my paper.pdf", "odd:1"):
        (tmp_path / name).write_bytes(PAPER)
    (tmp_path / "code.py").write_text(TEXT)
    (tmp_path / "notes.md").write_text("# A\nx\n## B\ny\n# C\nz")
    (tmp_path / "page.html").write_text("<html><h1>T</h1>x")
    (tmp_path / "sales.xlsx").write_bytes(xlsx({"North": row(1, "n", 1), "South": row(1, "s", 2)}))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("paper.pdf:3", "[page 3]\nAnd more.", "page 3 of 3"),
        ("my paper.pdf:2-", "[page 2]\nMore of how.\n# 2 Results", "pages 2, 3 of 3"),
        ("paper.pdf:1,3", "[page 1]\n# A Paper\n", "pages 1 and 3 of 3"),
        ("odd:1", "[page 1]\n", "3 pages"),  # a file of the whole name comes first
        ("odd:1:3", "[page 3]\n", "page 3 of 3"),
        (
            "paper.pdf#method",
            f"[page 1]\n{METHOD}\n\n[page 2]\nMore of how.",
            "section 1 Method, pages 1, 2 of 3",
        ),
        ("paper.pdf#2", "[page 2]\n## 2 Results\n", "section 2 Results, pages 2, 3 of 3"),
        ("code.py:3-4,20", "[lines 3 to 4]\nline 3\nline 4\n\n[line 20]\nline 20", "lines 3, 4 and 20 of 20"),
        ("notes.md#a", "# A\nx\n## B\ny", "section A"),
        ("page.html", "# T\n\nx", "its text without the markup, which #source attaches"),
        ("page.html#source", "<html><h1>T</h1>x", ""),
        ("sales.xlsx#south", '[sheet "South" A1:B1]\ns | 2', "section South, sheet 2 of 2"),
        ("sales.xlsx#South!a1:b9", '[sheet "South" A1:B9]\ns | 2', "South!a1:b9 of 2 sheets"),
        ("sales.xlsx#south!$B$1", '[sheet "South" B1:B1]\n2', "south!$B$1 of 2 sheets"),
        ("sales.xlsx#'South'!1-3", '[sheet "South" rows 1 to 3]\ns | 2', "'South'!1-3 of 2 sheets"),
        (
            "paper.pdf?what+came",
            "[page 2]\nMore of how.\n## 2 Results\nWhat came",
            "1 of 3 passages, found for 'what came'",
        ),
        ("code.py?line 7?", "[lines 1 to 20]\nline 1\n", "1 of 1 passage, found for 'line 7?'"),
        ("sales.xlsx:1", '[sheet "North" A1:B1]\nn | 1', "sheet 1 of 2"),
    ],
)
def test_a_part_of_a_file_is_attached(folder: Path, name: str, text: str, note: str) -> None:
    for _ in range(2):  # the second time from memory
        attachment = attach(name, folder)
        assert (attachment.name, attachment.note) == (name, note) and attachment.text.startswith(text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("paper.pdf:7-9", "paper.pdf has no page 7-9: it has 3 pages"),
        ("paper.pdf:0", "paper.pdf has no page 0: it has 3 pages"),
        ("code.py:21-", "code.py has no line 21-: it has 20 lines"),
        ("code.py#main", "code.py has no section main; it has 20 lines and no headings"),
        ("notes.md#Z", "notes.md has no section Z; its sections are A, B, C"),
        ("sales.xlsx#North!C7", 'sales.xlsx has no values in North!C7; sheet "North" A1:B1 has them'),
        ("sales.xlsx#West!C7", "sales.xlsx has no section West!C7; its sections are North, South"),
        ("paper.pdf?zebra", "paper.pdf has nothing about zebra"),
        ("none.pdf:3", "there is no file none.pdf"),
        ("none.pdf*", "there is no file none.pdf"),
        ("none.pdf:3*", "there is no file none.pdf"),
        ("../out#x", "there is no file ../out"),
    ],
)
def test_a_part_that_is_not_there_is_one_sentence(folder: Path, name: str, said: str) -> None:
    with pytest.raises(AttachmentError) as error:
        attach(name, folder)
    assert str(error.value) == said


def test_what_a_name_means(folder: Path) -> None:
    assert meant("a b.pdf#4.2 Runs", folder) == (folder / "a b.pdf", Selection(section="4.2 Runs"))
    assert meant("c:12-,7", None) == (Path("c"), Selection(((12, 10**7), (7, 7))))
    assert meant("c?ratio+of 3:7 # x", None) == (Path("c"), Selection(words="ratio of 3:7 # x"))
    for name in ("http://x", "a#", "#b", "a:", ":3", "a:b", "a:3-x", "a?", "?b", "a? "):
        assert meant(name, None) == (Path(name), Selection())


def test_a_file_that_has_changed_is_read_again(folder: Path) -> None:
    assert attach("notes.md", folder).text.startswith("# A")
    (folder / "notes.md").write_text("# Other text")
    assert attach("notes.md", folder).text == "# Other text"


def test_a_locked_file_takes_its_password_once(folder: Path) -> None:
    (folder / "locked.pdf").write_bytes(encrypted(PAPER, "AES-256", user="secret"))
    for password, said in ((None, "locked.pdf is locked by a password"), ("no", "locked.pdf is locked by another")):
        with pytest.raises(AttachmentLocked, match=said):
            attach("locked.pdf", folder, password)
    assert attach("locked.pdf", folder, "secret").note == "3 pages"
    assert attach("locked.pdf#method", folder).text.startswith("[page 1]\n## 1 Method")


# What to choose from, and what fits


def test_the_parts_of_a_file_while_its_name_is_typed(folder: Path) -> None:
    assert [part.name for part in parts("paper.pdf#", folder, 9)] == [
        *("paper.pdf", "paper.pdf#A Paper", "paper.pdf#1 Method", "paper.pdf#2 Results")
    ]
    (found,) = parts("paper.pdf#RES", folder, 9)
    assert found.title == "2 Results" and found.size.startswith("page 2, about ")
    assert [part.title for part in parts("paper.pdf:", folder, 2)] == ["all of it", "page 1", "page 2"]
    assert parts("code.py:", folder, 9) == [Part("code.py", "all of it", "20 lines, about 66 tokens")]
    (found,) = parts("paper.pdf?came more", folder, 9)
    assert found.title == "2 of 3 passages, found for 'came more'" and found.size.startswith("about ")
    (last,) = parts("paper.pdf:3", folder, 9)
    assert last.name == "paper.pdf:3" and last.size.startswith("And more.  about ")
    assert [part.name for part in parts("paper.pdf:1,2-", folder, 9)] == ["paper.pdf:1,2-2", "paper.pdf:1,2-3"]
    assert parts("notes.md#b", folder, 9) == [Part("notes.md#B", "B", "about 4 tokens")]
    for typed in ("paper.pdf", "none.pdf#", "paper.pdf?", "paper.pdf?zebra", "#", ".#", "paper.pdf#zzz"):
        assert parts(typed, folder, 9) == []
    assert (size_of("code.py", folder), size_of(".", folder), size_of("none", folder)) == ("151 bytes", "", "")


def test_what_of_a_file_fits(folder: Path) -> None:
    assert what_fits("code.py", folder, 30) == "lines 1-10 fit: code.py:1-10"
    (folder / "long.txt").write_text("some words in a line\n" * 4000)
    assert what_fits("long.txt", folder, 4000).endswith(
        " fit: long.txt:1-666, or search it: long.txt?words, or read all of it by parts: long.txt*"
    )
    assert what_fits("paper.pdf", folder, 50) == "pages 1-2 fit: paper.pdf:1-2"
    for name, room in (("paper.pdf", 3), ("code.py", 1), ("code.py", 99), ("paper.pdf:1", 99), ("none", 99)):
        assert what_fits(name, folder, room) == ""
