"""The folder that was opened: no path, link, device or race leads out of it."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.tools.files import folder as folder_module
from mlx_model.tools.files.folder import MOST_BYTES, Content, FilesError, Folder, is_git

SECRET = b"secret"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A folder with a file, beside a secret."""
    top = tmp_path / "top"
    (top / "src").mkdir(parents=True)
    (top / "src" / "a.py").write_bytes(b"a")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(SECRET)
    return top


@pytest.mark.parametrize("path", ["src/a.py", "./src/a.py", "src//a.py", " src/./a.py ", "{top}/src/a.py"])
def test_the_same_file(path: str, top: Path) -> None:
    folder = Folder(top)
    assert folder.relative(path.format(top=top)) == "src/a.py"
    assert folder.relative(str(top)) == folder.relative("") == folder.relative("./") == "."


HOSTILE = {
    "is outside of the opened folder": [
        "..", "../secret/key", "src/../../secret/key", "src/..", "/etc/passwd", "{top}/../secret/key", "{top}x/key",
        "//etc/passwd", "/", "/..",
    ],
    "belongs to git": [
        ".git", ".git/config", "src/.git/hooks/x", ".GIT/config", ".Git", ".git.", ".git ..", "GIT~1/config",
        ".g\u200cit/config", "\u200d.git", ".git::$INDEX_ALLOCATION/config", "\uff0egit",
    ],
    "has characters that no path may have": [
        "a\0b", "src/a.py\0", "a\nb", "a\tb", "a\x1b[2Jb", "a\ud800", "\u202eyp.a", "\x7f",
    ],
    "is too long for a path": ["a" * 256, "é" * 128, "a/" * 600, "x" * 1_000_000],
}  # fmt: skip


@pytest.mark.parametrize(("message", "path"), [(message, path) for message, paths in HOSTILE.items() for path in paths])
def test_hostile_paths(message: str, path: str, top: Path) -> None:
    path = path.replace("{top}", str(top))
    with pytest.raises(FilesError, match=message) as error:
        Folder(top).relative(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("name", [".gitignore", ".github", "git", "a.git", ".gitx", "git~", "..git"])
def test_names_like_those_of_git(name: str, top: Path) -> None:
    assert not is_git(name)
    assert Folder(top).relative(name) == name


PARTS = st.lists(st.sampled_from(["..", ".", "", "src", "a.py", "link", "up", ".git", "secret", "key", "~", "\\", "*"]))


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links out of it and round in circles."""
    base = tmp_path_factory.mktemp("maze")
    (base / "src" / "src").mkdir(parents=True)
    (base / "secret").mkdir()
    (base / "secret" / "key").write_bytes(SECRET)
    (base / "src" / "link").symlink_to(base / "secret")
    (base / "src" / "up").symlink_to("..")
    (base / "src" / "key").symlink_to("../secret/key")
    (base / "src" / "src" / "src").symlink_to(".")
    return base / "src"


@settings(max_examples=60)
@given(PARTS, st.booleans())
def test_no_path_gives_what_is_outside(maze: Path, parts: list[str], is_absolute: bool) -> None:
    folder = Folder(maze)
    path = "/".join([*([str(maze)] if is_absolute else []), *parts])
    try:
        inner = folder.relative(path)
        content = folder.read(inner)
    except FilesError:
        return
    assert ".." not in inner.split("/")
    assert content is None or content.data != SECRET


def link_to_file(top: Path) -> str:
    (top / "x").symlink_to(top.parent / "secret" / "key")
    return "x"


def link_inside(top: Path) -> str:
    (top / "x").symlink_to("src/a.py")
    return "x"


def link_to_folder(top: Path) -> str:
    (top / "x").symlink_to(top.parent / "secret")
    return "x/key"


def dangling_link(top: Path) -> str:
    (top / "x").symlink_to(top.parent / "secret" / "new")
    return "x"


def pipe(top: Path) -> str:
    os.mkfifo(top / "x")
    return "x"


def device(top: Path) -> str:
    try:
        os.mknod(top / "x", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        os.mkfifo(top / "x")
    return "x"


def a_folder(top: Path) -> str:
    return "src"


def below_a_file(top: Path) -> str:
    return "src/a.py/b"


def too_large(top: Path) -> str:
    with (top / "x").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    return "x"


REFUSED = [link_to_file, link_inside, link_to_folder, dangling_link, pipe, device, a_folder, below_a_file, too_large]


@pytest.mark.parametrize("make", REFUSED)
def test_only_regular_files_are_read(make: Callable[[Path], str], top: Path) -> None:
    path = make(top)
    with pytest.raises(FilesError, match=rf"{path}.*(link|no regular file|is a folder|bytes, more than)"):
        Folder(top).read(path)


@pytest.mark.parametrize("make", [link_to_folder, below_a_file])
def test_nothing_is_written_through_a_link(make: Callable[[Path], str], top: Path) -> None:
    path, folder = make(top), Folder(top)
    with pytest.raises(FilesError):
        folder.stage(path, Content(b"x"))
    for function in (folder.put, folder.remove):
        with pytest.raises(FilesError):
            function(path)
    with pytest.raises(FilesError), folder.open_folder(path):
        pass
    assert (top.parent / "secret" / "key").read_bytes() == SECRET
    assert [each.name for each in (top.parent / "secret").iterdir()] == ["key"]


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(top: Path) -> None:
    folder = Folder(top)
    folder.stage("x", Content(b"new"))
    link_to_file(top)
    folder.put("x")
    assert not (top / "x").is_symlink()
    assert (top.parent / "secret" / "key").read_bytes() == SECRET


@pytest.mark.parametrize(("make", "message"), [(link_to_file, "a link"), (pipe, "no regular file")])
def test_what_is_put_in_place_of_a_file_after_a_look_at_it_is_not_read(
    make: Callable[[Path], str], message: str, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = Folder(top), folder_module._check_regular
    (top / "x").touch()

    def replaced(status: os.stat_result, path: str) -> None:
        real(status, path)
        (top / "x").unlink()
        make(top)

    monkeypatch.setattr(folder_module, "_check_regular", replaced)
    with pytest.raises(FilesError, match=message):
        folder.read("x")


def test_a_folder_that_is_open_stays_the_same(top: Path) -> None:
    folder = Folder(top)
    with folder.open_folder("src") as opened:
        shutil.move(top / "src", top / "moved")
        (top / "src").symlink_to(top.parent / "secret")
        assert os.listdir(opened) == ["a.py"]  # noqa: PTH208  # a descriptor


def test_a_file_that_grows_while_it_is_read(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MOST_BYTES", 3)
    (top / "x").write_bytes(b"123")
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda descriptor: ((top / "x").write_bytes(b"12345"), real(descriptor))[1])
    with pytest.raises(FilesError, match="more than the 3"):
        Folder(top).read("x")


def test_the_folder_itself(top: Path, tmp_path: Path) -> None:
    with pytest.raises(FilesError, match="gone can't be opened: No such file"):
        Folder(tmp_path / "gone")
    with pytest.raises(FilesError, match="key can't be opened: Not a directory"):
        Folder(tmp_path / "secret" / "key")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(FilesError, match="circle can't be opened"):
        Folder(tmp_path / "circle")
    (tmp_path / "link").symlink_to(top)
    folder = Folder(tmp_path / "link")
    assert folder.path == top
    top.rename(tmp_path / "other")
    with pytest.raises(FilesError, match="no such file"):
        folder.check()
    top.mkdir()
    with pytest.raises(FilesError, match="was replaced by another"):
        folder.read("src/a.py")
    top.rmdir()
    top.symlink_to(tmp_path / "other")
    with pytest.raises(FilesError, match="a part of the path is a link"):
        folder.check()


def test_no_descriptor_is_left_open(top: Path) -> None:
    folder = Folder(top)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208  # of this process
    link_to_folder(top)
    for path in ("src/a.py", "gone", "x/key", "src", "src/a.py/b", "gone/a"):
        for function in (folder.read, folder.remove, folder.put, folder.unstage):
            if function != folder.remove or path != "src/a.py":
                with suppress(FilesError):
                    function(path)
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
