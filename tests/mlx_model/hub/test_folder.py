"""The digests of files, and the record of those that were verified."""

import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub.folder import File, ModelFolder, Record, is_intact, is_verified

HELLO = b"hello\n"
GIT = "ce013625030ba8dba906f756967f9e9ca394464a"  # printf 'hello\n' | git hash-object --stdin
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"  # printf 'hello\n' | sha256sum


@pytest.mark.parametrize("digest", [GIT, SHA256])
def test_digests(tmp_path: Path, digest: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(HELLO)
    read: list[int] = []
    assert is_intact(path, digest, read.append) and read == [6]
    path.write_bytes(b"hellO\n")
    assert not is_intact(path, digest, read.append)


def test_huggingface_hub_computes_the_same(tmp_path: Path) -> None:
    from huggingface_hub.utils.sha import git_hash, sha_fileobj

    path = tmp_path / "file"
    for size in (0, 1, 5 << 20):
        path.write_bytes(bytes(size))
        with path.open("rb") as content:
            assert is_intact(path, sha_fileobj(content).hex(), lambda _: None)
        assert is_intact(path, git_hash(path.read_bytes()), lambda _: None)


def test_the_record_outlives_the_process_and_sees_changes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(HELLO)
    record = Record(tmp_path)
    assert not record.holds(path)
    record.add(path, SHA256)
    for known in (record, Record(tmp_path)):
        assert known.holds(path) and known.holds(path, SHA256) and not known.holds(path, GIT)
        assert known.digest(path) == SHA256
    path.write_bytes(b"other")
    assert not Record(tmp_path).holds(path)
    path.unlink()
    assert not Record(tmp_path).holds(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"model.safetensors": 3}', '{"model.safetensors": {}}', "\xff"]
)
def test_a_record_that_can_not_be_read_is_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(HELLO)
    Record(tmp_path).add(path, SHA256)
    (tmp_path / ".gptoss-chat" / "verified.json").write_text(text, encoding="latin-1")
    record = Record(tmp_path)
    assert not record.holds(path) and record.digest(path) is None
    record.add(path, SHA256)
    assert Record(tmp_path).holds(path)


def test_a_snapshot_belongs_to_its_repository(tmp_path: Path) -> None:
    root = tmp_path / "models--org--name"
    assert ModelFolder.of(root / "snapshots" / "abc") == ModelFolder(root, root / "snapshots" / "abc")
    plain = tmp_path / "x" / "snapshots" / "abc"
    assert ModelFolder.of(plain) == ModelFolder(plain, plain)


def test_a_link_that_leads_elsewhere_is_replaced(tmp_path: Path) -> None:
    model = ModelFolder.of(tmp_path / "models--org--name" / "snapshots" / "abc")
    file = File("config.json", 6, GIT)
    model.path(file).parent.mkdir(parents=True)
    model.path(file).write_bytes(HELLO)
    model.folder.mkdir(parents=True)
    for wrong in ("../../../../../elsewhere", "../../blobs/none"):
        (model.folder / "config.json").unlink(missing_ok=True)
        (model.folder / "config.json").symlink_to(wrong)
        model.link(file)
        assert (model.folder / "config.json").read_bytes() == HELLO
    assert model.found("config.json") == file
    assert not is_verified(model.folder, ["config.json"])
    Record(model.root).add(model.path(file), GIT)
    assert is_verified(model.folder, ["config.json"])
    elsewhere = tmp_path / GIT
    elsewhere.write_bytes(b"other\n")
    (model.folder / "config.json").unlink()
    (model.folder / "config.json").symlink_to(elsewhere)  # its name says the blob's digest
    assert not is_verified(model.folder, ["config.json"])


def test_a_file_of_the_snapshots_own_stays(tmp_path: Path) -> None:
    """As where links can't be made: its content is verified before, like a blob's."""
    model = ModelFolder.of(tmp_path / "models--org--name" / "snapshots" / "abc")
    file = File("config.json", 6, GIT)
    model.folder.mkdir(parents=True)
    (model.folder / "config.json").write_bytes(HELLO)
    model.link(file)
    assert model.path(file) == model.folder / "config.json" and not model.path(file).is_symlink()
    assert model.found("config.json") is None
    Record(model.root).add(model.path(file), GIT)
    assert model.found("config.json") == file and is_verified(model.folder, ["config.json"])


def no_locks(error: int) -> Callable[[int, int], None]:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(error, os.strerror(error))

    return flock


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL])
def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks(error))
    model = ModelFolder.of(tmp_path)
    for _ in range(2):
        with model.locked(), pytest.raises(CheckpointError, match="another gptoss-chat"):
            model.locked().__enter__()
    assert not (tmp_path / ".gptoss-chat" / "claim").exists()


def test_a_claim_that_was_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks(errno.ENOTSUP))
    claim = tmp_path / ".gptoss-chat" / "claim"
    claim.parent.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    claim.write_text(f"{socket.gethostname()} {ended.pid}")
    with ModelFolder.of(tmp_path).locked():
        assert claim.read_text() == f"{socket.gethostname()} {os.getpid()}"
    for other in (f"{socket.gethostname()} {os.getppid()}", f"another-mac {ended.pid}", "", "\x1b[2J x"):
        claim.write_text(other)
        with pytest.raises(CheckpointError) as caught, ModelFolder.of(tmp_path).locked():
            pass
        assert f"delete {claim}" in str(caught.value) and str(caught.value).isprintable()
        assert claim.read_text() == other


def test_an_error_of_the_disk_while_it_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", no_locks(errno.EIO))
    with pytest.raises(CheckpointError, match="reading or writing failed: Input/output error"):
        ModelFolder.of(tmp_path).locked().__enter__()


def test_what_fails_under_the_lock_is_no_other_download(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), ModelFolder.of(tmp_path).locked():
        raise BlockingIOError


@pytest.mark.parametrize("step", ["take", "name", "record"])
def test_what_a_power_cut_leaves_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Content has reached the disk before the name that others find it by; a small file's name then does, too."""
    order: list[str] = []
    model = ModelFolder.of(tmp_path / "models--org--name" / "snapshots" / ("a" * 40))
    file = File("config.json", 6, GIT)
    partial = model.partial(file)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(HELLO)
    fsync, rename = os.fsync, Path.replace

    def replace(path: Path, target: Path) -> Path:
        order.append("name")
        return rename(path, target)

    def sync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    match step:
        case "take":
            model.take(file)
        case "name":
            model.name_revision("main")
        case _:
            Record(model.root).add(partial, GIT)
    assert order == (["content", "name"] if step == "take" else ["content", "name", "folder"])
