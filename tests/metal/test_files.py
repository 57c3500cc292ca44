"""Small files: what is read of them when anyone may have put them there, and what is refused unread."""

import errno
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from metal.files import open_below, parse_json, read_open, read_small


def test_a_file_and_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "b").symlink_to("a")
    assert read_small(tmp_path / "a", 100) == read_small(tmp_path / "b") == b"x" * 100
    with pytest.raises(OSError, match="more than") as caught:
        read_small(tmp_path / "a", 99)
    assert caught.value.errno == errno.EFBIG


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path), _socket],
)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "a")
    with pytest.raises(OSError) as caught:
        read_small(tmp_path / "a")
    assert caught.value.strerror


@pytest.mark.parametrize("name", ["a", "folder/a"])
def test_below_a_folder_of_others_a_file_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / name).write_bytes(b"x" * 100)
    with open_below(tmp_path, tmp_path / name) as file:
        assert read_open(file, tmp_path, 100) == b"x" * 100
    with open_below(tmp_path, tmp_path / name) as file, pytest.raises(OSError, match="more than"):
        read_open(file, tmp_path, 99)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("link", "a link"),
        ("linked/secret", "a link"),
        ("../secret", "another folder"),
        ("folder/../../secret", "another folder"),
        ("", "another folder"),
        ("/secret", "another folder"),
        ("folder", "it is a folder"),
        ("pipe", "not a regular file"),
        ("gone", "No such file"),
    ],
)
def test_below_a_folder_of_others_nothing_else_is_reached(tmp_path: Path, path: str, why: str) -> None:
    work = tmp_path / "work"
    (work / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"x")
    (work / "link").symlink_to(tmp_path / "secret")
    (work / "linked").symlink_to(tmp_path)
    os.mkfifo(work / "pipe")
    before = len([*Path("/dev/fd").iterdir()])
    with pytest.raises(OSError, match=why):
        open_below(work, work / path)
    assert len([*Path("/dev/fd").iterdir()]) == before


def test_a_sparse_file_costs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="more than 4 MB"):
        read_small(tmp_path / "a")


def test_a_file_of_the_system_whose_size_is_not_told() -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system has no /proc")
    assert b"Pid" in read_small(Path("/proc/self/status"))
    with pytest.raises(OSError, match="more than"):
        read_small(Path("/proc/self/status"), 10)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "x"]}, [], "x", 3, None, -(10**30), {"a": {"b": {}}}])
def test_what_is_read(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value  # as Windows' editors save it


def test_how_deep_it_may_be() -> None:
    assert parse_json(nested(64)) and parse_json(b'{"a":' * 64 + b"1" + b"}" * 64)
    assert parse_json(json.dumps("[" * 1000).encode()) == "[" * 1000


@pytest.mark.parametrize(
    "text",
    [
        *(nested(levels) for levels in (65, 500, 900, 100_000)),
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b"[1, " * 65 + b"1" + b"]" * 65,
        b"9" * 41,
        b"9" * 5000,
        b"-" + b"9" * 5000,
        b"",
        b"{",
        b"\xff",
        b"[1, 2",
        b"[" + b"1," * (5 << 20) + b"1]",
    ],
    ids=lambda text: f"{text[:8]!r} of {len(text)}",
)
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)
