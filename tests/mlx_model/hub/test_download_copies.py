"""What is on this computer already is verified and used, whoever put it there, in whatever form."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import environment
from mlx_model.hub import names as hub
from mlx_model.hub.download import Downloaded, DownloadEvent, fetch, prepare
from mlx_model.hub.inventory import local_models, removal
from mlx_model.hub.transfer import Damaged, Waiting
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import Fault, HubServer, gpt_oss

SHARD = "model-00001-of-00002.safetensors"
SIZE = len(gpt_oss()[SHARD])


def run(dest: Path | None = None, *, update: bool = False) -> list[DownloadEvent]:
    """Download to the end; the model is right."""
    events = list(fetch(prepare("gpt-oss-20b", dest, update=update)))
    assert isinstance(events[-1], Downloaded)
    for name in hub.needed_files(events[-1].folder):
        assert (events[-1].folder / name).read_bytes() == gpt_oss()[name]
    return events


def as_on_windows(root: Path) -> None:
    """A repository as huggingface_hub makes it where links are refused: files in the snapshot, no blobs."""
    for link in (root / "snapshots").glob("*/*"):
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content)
    shutil.rmtree(root / "blobs")
    shutil.rmtree(root / ".gptoss-chat", ignore_errors=True)


@pytest.fixture
def windows(server: HubServer, cache: Path) -> HubServer:
    run()
    as_on_windows(cache / "models--openai--gpt-oss-20b")
    server.requests.clear()
    server.requested.clear()
    return server


def test_a_cache_without_links_is_verified_where_it_lies(windows: HubServer) -> None:
    assert hub.default_model() == "demo"
    run()
    assert windows.requested == [] and len(windows.requests) == 1  # for the digests
    assert hub.default_model() == "gpt-oss-20b" and all(model.verified for model in local_models())
    run()
    assert len(windows.requests) == 1


def test_one_of_a_commit_that_is_no_longer_the_newest(windows: HubServer, cache: Path) -> None:
    """A new README is a new commit: the weights are the same, and nothing of them moves."""
    old = hub.resolve("gpt-oss-20b")
    windows.repos[REPO].publish(gpt_oss() | {"README.md": b"new"})
    run()
    assert windows.requested == [] and hub.resolve("gpt-oss-20b") == old
    run(update=True)
    assert windows.requested == [] and hub.resolve("gpt-oss-20b") != old


def test_one_of_a_commit_that_the_hub_forgot(windows: HubServer) -> None:
    old = windows.commit(REPO)
    windows.repos[REPO].publish(gpt_oss() | {"README.md": b"new"})
    del windows.repos[REPO].commits[old]
    run()
    assert windows.requested == []


def test_a_damaged_file_of_one_is_fetched_alone(windows: HubServer) -> None:
    shard = hub.resolve("gpt-oss-20b") / SHARD
    shard.write_bytes(b"x" * SIZE)
    assert [event.name for event in run() if isinstance(event, Damaged)] == [SHARD]
    assert windows.requested == [SHARD]


def test_a_damaged_blob_behind_a_damaged_file_is_no_way_out(windows: HubServer, cache: Path) -> None:
    shard = hub.resolve("gpt-oss-20b") / SHARD
    shard.write_bytes(b"x" * SIZE)
    blob = cache / "models--openai--gpt-oss-20b" / "blobs" / hashlib.sha256(gpt_oss()[SHARD]).hexdigest()
    blob.parent.mkdir()
    blob.write_bytes(b"y" * SIZE)
    assert [event.name for event in run() if isinstance(event, Damaged)] == [SHARD, SHARD]
    assert windows.requested == [SHARD]


def test_what_has_another_size_is_no_copy(windows: HubServer) -> None:
    windows.repos[REPO].publish(gpt_oss() | {SHARD: gpt_oss()[SHARD] + b"x"})
    events = list(fetch(prepare("gpt-oss-20b", update=True)))
    assert isinstance(events[-1], Downloaded) and not [event for event in events if isinstance(event, Damaged)]
    assert windows.requested == [SHARD]


def test_one_is_removed(windows: HubServer, cache: Path) -> None:
    run()
    found = removal("gpt-oss-20b")
    assert found.size >= prepare("gpt-oss-20b").total
    found.run()
    assert local_models() == [] and not list(cache.glob("models--*"))


@pytest.fixture
def linkless(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path, target_is_directory: bool = False) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), str(self))

    monkeypatch.setattr(Path, "symlink_to", refuse)


def test_a_disk_that_refuses_links(server: HubServer, cache: Path, linkless: None) -> None:
    run()
    assert not [path for path in cache.rglob("*") if path.is_symlink()]
    assert hub.default_model() == "gpt-oss-20b"
    server.requests.clear()
    run()
    assert server.requests == []
    server.repos[REPO].publish(gpt_oss() | {"README.md": b"new"})
    server.requested.clear()
    run(update=True)
    assert server.requested == []


def test_a_link_that_fails_for_another_reason(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path, target_is_directory: bool = False) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "symlink_to", fail)
    with pytest.raises(CheckpointError, match="the disk is full"):
        run()


def test_a_disk_for_small_files(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlx_model.hub import transfer

    def fail(out: object, piece: bytes) -> int:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    monkeypatch.setattr(transfer, "_write", fail)
    with pytest.raises(CheckpointError, match=r"FAT32 ends at 4 GB\): put the model elsewhere with --dest or HF_HOME"):
        run()


def test_a_damaged_blob_does_a_plain_folder_no_harm(server: HubServer, tmp_path: Path) -> None:
    run()
    plan = prepare("gpt-oss-20b", tmp_path / "plain")
    largest = next(file for file in plan.files if file.name == SHARD)
    (plan.repository.cache / "blobs" / largest.digest).write_bytes(b"x" * SIZE)
    server.requested.clear()
    run(tmp_path / "plain")
    assert server.requested == [SHARD]  # the others are copies


def test_more_bytes_than_the_file_has(server: HubServer) -> None:
    server.faults[SHARD].append(Fault(more=b"x" * 20_000))
    assert not [event for event in run() if isinstance(event, Damaged | Waiting)]


def test_no_content_is_asked_for_compressed(server: HubServer) -> None:
    """A proxy would compress it, and its bytes are counted and continued as they are stored."""
    run()
    assert server.encodings == {"identity"}


@pytest.mark.parametrize("link", [False, True])
def test_a_disk_that_is_not_connected(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    """Nothing is put where the disk will be, whether HF_HOME or a link says that the cache is on it."""
    from huggingface_hub import constants

    monkeypatch.setattr(environment, "_DISKS", (str(tmp_path / "Volumes"),))
    (tmp_path / "Volumes").mkdir()
    cache = tmp_path / "Volumes" / "SSD" / "hub"
    if link:
        (tmp_path / "link").symlink_to(cache)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "link" if link else cache))
    for use in (prepare, hub.resolve):
        with pytest.raises(CheckpointError) as caught:
            use("gpt-oss-20b")
        assert f"is on a disk that is not connected: connect {tmp_path / 'Volumes' / 'SSD'}" in str(caught.value)
    assert hub.default_model() == "demo" and local_models() == []
    assert server.requests == [] and not list((tmp_path / "Volumes").iterdir())
    cache.parent.mkdir()
    if link:
        cache.mkdir()
    run()
