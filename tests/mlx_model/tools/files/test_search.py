"""Files listed and searched: what is found, in which order, what is left out, and where it stops."""

import os
from pathlib import Path

import pytest

from mlx_model.tools.files import search
from mlx_model.tools.files.folder import FilesError, Folder
from mlx_model.tools.files.search import Walk

FILES: dict[str, str | bytes] = {
    ".gitignore": "*.log\nbuild/\n!keep.log\n/only-here\n",
    "a.py": "import os\nprint('Hello')\n",
    "b.log": "Hello",
    "keep.log": "Hello",
    "only-here": "",
    "build/out.py": "Hello",
    ".git/config": "Hello",
    "src/.gitignore": "!b.log\nsecret*\n/local\n",
    "src/b.log": "hello\n  hello again\n",
    "src/c.log": "",
    "src/local": "",
    "src/only-here": "",
    "src/secret.txt": "Hello",
    "src/deep/c.py": "a\r\nb\r\n\nc Hello c",
    "logo.png": b"\x89PNG\0Hello",
    "latin.txt": "Hellö".encode("latin-1"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    top = tmp_path / "top"
    for path, content in FILES.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "secret.py").write_text("Hello")
    (top / "link.py").symlink_to(tmp_path / "secret.py")
    (top / "up").symlink_to("..")
    (top / "a\nb.py").write_text("Hello")
    os.mkfifo(top / "pipe.py")
    return Folder(top)


def paths(folder: Folder, path: str = ".", glob: str = "") -> list[str]:
    return [entry.path for entry in Walk(folder).files(path, glob)]


def test_all_files_but_those_that_git_ignores(folder: Folder) -> None:
    assert paths(folder) == [
        ".gitignore", "a.py", "keep.log", "latin.txt", "logo.png", "src/.gitignore", "src/b.log", "src/deep/c.py",
        "src/only-here",
    ]  # fmt: skip


def test_globs(folder: Folder) -> None:
    assert paths(folder, glob="*.py") == ["a.py", "src/deep/c.py"]
    assert paths(folder, glob="src/*.log") == ["src/b.log"]
    assert paths(folder, glob="src/**/*.py") == paths(folder, "src", "*.py") == ["src/deep/c.py"]
    assert (
        paths(folder, glob="src")
        == paths(folder, "src")
        == ["src/.gitignore", "src/b.log", "src/deep/c.py", "src/only-here"]
    )
    assert paths(folder, glob="*.rs") == []
    for glob in ("**************a", "x" * 201, "!"):
        with pytest.raises(FilesError, match="can't be used as a glob"):
            paths(folder, glob=glob)


def test_a_folder_that_git_ignores_is_seen_if_it_is_named(folder: Folder) -> None:
    assert paths(folder, "build") == ["build/out.py"]
    for path in ("up", "gone", "a.py"):
        with pytest.raises(FilesError):
            paths(folder, path)


def test_a_folder_s_own_entries(folder: Folder) -> None:
    found = {entry.path: (entry.is_folder, entry.is_file) for entry in Walk(folder).entries(".")}
    assert found == {
        **dict.fromkeys(
            (".gitignore", "a.py", "b.log", "keep.log", "latin.txt", "logo.png", "only-here"), (False, True)
        ),
        **dict.fromkeys(("build", "src"), (True, False)),
        **dict.fromkeys(("link.py", "pipe.py", "up"), (False, False)),
    }
    assert [entry.path for entry in Walk(folder).entries("src/deep")] == ["src/deep/c.py"]


def test_lines_with_a_text(folder: Folder) -> None:
    def hits(text: str, glob: str = "") -> list[tuple[str, int, str]]:
        return [(hit.path, hit.number, hit.text) for hit in Walk(folder).hits(text, glob)]

    assert hits("Hello") == [("a.py", 2, "print('Hello')"), ("keep.log", 1, "Hello"), ("src/deep/c.py", 4, "c Hello c")]
    assert hits("hello", "*.log") == [
        ("keep.log", 1, "Hello"), ("src/b.log", 1, "hello"), ("src/b.log", 2, "  hello again")
    ]  # fmt: skip
    assert hits("b\n\nc") == [("src/deep/c.py", 2, "b")], "over the ends of lines, whatever these are"
    assert hits("c", "c.py") == [("src/deep/c.py", 4, "c Hello c")], "once a line"
    assert hits("(.*)") == []


def test_bounds(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Walk(folder)
    assert len(list(whole.files())) == 9
    assert not whole.is_cut
    monkeypatch.setattr(search, "MOST_SEEN", 5)
    cut = Walk(folder)
    assert len(list(cut.files())) <= 5
    assert cut.is_cut
    monkeypatch.undo()
    monkeypatch.setattr(search, "LONGEST_S", -1.0)
    late = Walk(folder)
    assert not list(late.files())
    assert late.is_cut


def test_a_hostile_list_of_what_to_ignore_takes_no_time(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"*a" * 50 + b"b\n\xff\n[\n\\\n!\n" + b"x*\n" * 5_000)
    (tmp_path / ("a" * 200)).touch()
    (tmp_path / "xyz").touch()
    assert paths(Folder(tmp_path)) == [".gitignore", "a" * 200]


def test_no_descriptor_is_left_open(folder: Folder) -> None:
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208  # of this process
    next(Walk(folder).files("src"))
    list(Walk(folder).hits("hello"))
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
