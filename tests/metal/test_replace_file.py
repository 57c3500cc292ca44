"""Replacing a small file in one step: what a reader sees at any moment, and what a power cut or a failure leaves."""

import os
import stat
from pathlib import Path

import pytest

from metal.files import replace_file


def test_folders_are_made_and_nothing_stays_beside(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "notes.json"
    for content in (b"old", b"new", b""):
        replace_file(path, content)
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_the_mode_of_the_old_file_stays(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"old")
    path.chmod(mode)
    replace_file(path, b"new")
    assert (path.stat().st_mode & 0o777, path.read_bytes()) == (mode, b"new")


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the exchange the new content is whole, and the old one still has the name."""
    path = tmp_path / "notes.json"
    path.write_bytes(b"old")
    replace, seen = Path.replace, list[bytes]()

    def watched(beside: Path, target: Path) -> Path:
        seen.extend((path.read_bytes(), beside.read_bytes()))
        assert beside.parent == path.parent, "a name moves in one step only within its folder's file system"
        return replace(beside, target)

    monkeypatch.setattr(Path, "replace", watched)
    replace_file(path, b"new")
    assert seen == [b"old", b"new"]


def test_what_is_durable_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the name is, before the call returns."""
    path = tmp_path / "notes.json"
    path.write_bytes(b"old")
    synced: list[tuple[bytes | None, bytes]] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        is_folder = os.path.sameopenfile(descriptor, folder)
        (beside,) = [None] if is_folder else [each for each in tmp_path.iterdir() if each != path]
        synced.append((None if beside is None else beside.read_bytes(), path.read_bytes()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        replace_file(path, b"new", durable=True)
        assert synced == [(b"new", b"old"), (None, b"new")]
        replace_file(path, b"newer")
        assert len(synced) == 2, "a file that can be made again need not wait for the disk"
    finally:
        os.close(folder)


@pytest.mark.parametrize("failing", [(os, "fsync"), (Path, "replace"), (Path, "chmod")])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: tuple[object, str], error: BaseException
) -> None:
    path = tmp_path / "notes.json"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(*failing, fail)
    with pytest.raises(type(error)):
        replace_file(path, b"new", durable=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_can_not_be_synced_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems can't; the content is there all the same."""
    fsync = os.fsync

    def files_alone(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_alone)
    replace_file(tmp_path / "notes.json", b"new", durable=True)
    assert (tmp_path / "notes.json").read_bytes() == b"new"
