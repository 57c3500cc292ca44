"""Names of files while they are typed: which files are meant, never one outside the folder through a link."""

import os
from pathlib import Path

import pytest

from app.documents.attachments import AttachmentError
from app.documents.files import find, read
from app.documents.mentions import candidates, mention, written


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
