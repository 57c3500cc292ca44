"""Fetching a model from a local Hub: what is asked for, what stays, and how an ended download goes on."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import names as hub
from mlx_model.hub.download import Checking, Downloaded, DownloadEvent, DownloadPlan, Progress, fetch, prepare
from mlx_model.hub.folder import ModelFolder, Record
from mlx_model.hub.names import Repository
from mlx_model.hub.transfer import Damaged, Verified
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import HubServer, gpt_oss, is_large

SHARDS = [f"model-{number:05}-of-00002.safetensors" for number in range(3)]
NEEDED = {name for name in gpt_oss() if name.startswith(("model", "tokenizer")) or "config" in name}


def run(plan: DownloadPlan, cancel: Event | None = None, *, again: bool = False) -> list[DownloadEvent]:
    return list(fetch(plan, cancel, again=again))


def folder_of(events: list[DownloadEvent]) -> Path:
    """Where a download that came to its end put the model."""
    assert isinstance(events[-1], Downloaded)
    return events[-1].folder


def begin(server: HubServer, plan: DownloadPlan) -> int:
    """Start a download, let it come half the way and cancel it; returns how many bytes were seen to be there."""
    server.hold(server.sent + 150_000)
    start, cancel, done = plan.present, Event(), 0
    for event in fetch(plan, cancel):
        assert not isinstance(event, Downloaded)
        if isinstance(event, Progress) and event.done >= start + 100_000:
            done = event.done
            cancel.set()
    server.release()
    assert done
    return done


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def expected(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: files[name] for name in NEEDED}


def test_the_plan_tells_all_before_a_byte(server: HubServer) -> None:
    plan = prepare("gpt-oss-20b")
    assert {file.name for file in plan.files} == NEEDED
    assert plan.total == sum(len(data) for data in expected(gpt_oss()).values())
    assert (plan.present, plan.license, plan.commit) == (0, "apache-2.0", server.commit(REPO))
    assert plan.free > 0
    assert server.requested == [] and len(server.requests) == 1
    assert not plan.target.root.exists()


def test_what_is_fetched_is_what_is_needed_and_no_more(server: HubServer) -> None:
    folder = folder_of(run(prepare("gpt-oss-20b")))
    assert sorted(server.requested) == sorted(NEEDED)
    assert contents(folder) == expected(gpt_oss())
    assert hub.default_model() == "gpt-oss-20b"


def test_a_second_time_asks_nothing(server: HubServer) -> None:
    folder = folder_of(run(prepare("gpt-oss-20b")))
    server.requests.clear()
    assert run(prepare("gpt-oss-20b")) == [Downloaded(folder)]
    assert server.requests == []


def test_huggingface_hub_finds_what_was_fetched(server: HubServer, cache: Path) -> None:
    from huggingface_hub import scan_cache_dir, snapshot_download

    folder = folder_of(run(prepare("gpt-oss-20b")))
    server.requested.clear()
    for offline in (True, False):
        found = snapshot_download(REPO, allow_patterns=sorted(NEEDED), local_files_only=offline)
        assert Path(found) == folder
    assert server.requested == []
    scanned = scan_cache_dir(cache)
    assert not scanned.warnings
    [repo] = scanned.repos
    [revision] = repo.revisions
    assert (repo.repo_id, repo.nb_files, set(revision.refs)) == (REPO, len(NEEDED), {"main"})


def test_what_huggingface_hub_fetched_is_verified_without_a_request(server: HubServer) -> None:
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(REPO, allow_patterns=sorted(NEEDED)))
    assert hub.default_model() == "demo"  # nobody has looked at it yet
    server.requests.clear()
    events = run(prepare("gpt-oss-20b"))
    assert folder_of(events) == folder
    assert {event.name for event in events if isinstance(event, Verified)} == NEEDED
    checks = [event for event in events if isinstance(event, Checking)]
    assert checks[-1].done == checks[-1].total == prepare("gpt-oss-20b").total
    assert server.requests == []
    assert hub.default_model() == "gpt-oss-20b"


def test_progress_never_falls_and_ends_at_the_total(server: HubServer) -> None:
    plan = prepare("gpt-oss-20b")
    events = run(plan)
    assert sorted(event.name for event in events if isinstance(event, Verified)) == sorted(NEEDED)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert {event.total for event in progress} == {plan.total} and progress[-1].done == plan.total


def test_a_cancelled_download_goes_on_where_it_was(server: HubServer) -> None:
    done = begin(server, prepare("gpt-oss-20b"))
    assert hub.default_model() == "demo"
    plan, server.asked = prepare("gpt-oss-20b"), 0
    present = plan.present
    assert done <= present < plan.total
    events = run(plan)
    first = next(event for event in events if isinstance(event, Progress))
    assert first.done >= done
    assert contents(folder_of(events)) == expected(gpt_oss())
    assert server.asked == plan.total - present


def test_closing_the_generator_stops_the_threads(server: HubServer) -> None:
    server.hold(150_000)
    events = fetch(prepare("gpt-oss-20b"))
    next(event for event in events if isinstance(event, Progress) and event.done > 100_000)
    events.close()
    present = prepare("gpt-oss-20b").present
    server.release()
    assert present == prepare("gpt-oss-20b").present < prepare("gpt-oss-20b").total
    folder_of(run(prepare("gpt-oss-20b")))


def test_a_revision_that_changes_between_two_runs(server: HubServer) -> None:
    old = folder_of(run(prepare("gpt-oss-20b")))
    newer, newest = gpt_oss(seed=1), gpt_oss(seed=2)
    server.repos[REPO].publish(newer)
    begin(server, prepare("gpt-oss-20b", update=True))
    assert hub.resolve("gpt-oss-20b") == old and hub.default_model() == "gpt-oss-20b"  # till the new one is whole
    server.repos[REPO].publish(newest | {SHARDS[1]: gpt_oss()[SHARDS[1]]})
    server.requested.clear()
    events = run(prepare("gpt-oss-20b", update=True))
    folder = folder_of(events)
    assert contents(folder) == expected(newest | {SHARDS[1]: gpt_oss()[SHARDS[1]]})
    assert SHARDS[1] not in server.requested  # the same content as in the first revision
    assert not any(isinstance(event, Damaged) for event in events)  # what was begun of the second is not taken up
    assert hub.resolve("gpt-oss-20b") == folder and hub.default_model() == "gpt-oss-20b"
    assert contents(old) == expected(gpt_oss())
    assert not list(Repository(REPO).cache.rglob("*.incomplete"))


def test_a_commit_by_its_name(server: HubServer) -> None:
    commit = server.commit(REPO)
    server.repos[REPO].publish(gpt_oss(seed=1))
    folder = folder_of(run(prepare(f"{REPO}@{commit}")))
    assert folder.name == commit and contents(folder) == expected(gpt_oss())
    assert hub.resolve(f"{REPO}@{commit}") == folder
    assert Repository(REPO).snapshot() is None
    assert run(prepare(f"{REPO}@{commit}")) == [Downloaded(folder)]


def test_a_plain_folder(server: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "own" / "gpt"
    begin(server, prepare("gpt-oss-20b", folder))
    server.asked = 0
    plan = prepare("gpt-oss-20b", folder)
    present = plan.present
    assert folder_of(run(plan)) == folder
    assert server.asked == plan.total - present < plan.total
    assert contents(folder) == expected(gpt_oss())
    assert not any(path.is_symlink() for path in folder.iterdir())
    server.requests.clear()
    assert run(prepare("gpt-oss-20b", folder)) == [Downloaded(folder)]
    assert server.requests == []
    assert hub.is_usable(folder)


def test_a_plain_folder_takes_what_the_cache_has(server: HubServer, tmp_path: Path) -> None:
    run(prepare("gpt-oss-20b"))
    server.requested.clear()
    folder = folder_of(run(prepare("gpt-oss-20b", tmp_path / "own")))
    assert contents(folder) == expected(gpt_oss()) and server.requested == []


def test_a_newer_revision_in_a_plain_folder(server: HubServer, tmp_path: Path) -> None:
    run(prepare("gpt-oss-20b", tmp_path / "own"))
    server.repos[REPO].publish(gpt_oss() | {SHARDS[2]: b"newer"})
    server.requested.clear()
    folder = folder_of(run(prepare("gpt-oss-20b", tmp_path / "own", update=True)))
    assert (folder / SHARDS[2]).read_bytes() == b"newer" and server.requested == [SHARDS[2]]


def test_a_file_of_ones_own_is_not_replaced(server: HubServer, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / SHARDS[1]).write_bytes(b"a model that somebody trained")
    with pytest.raises(CheckpointError, match="nothing was changed; choose another folder"):
        run(prepare("gpt-oss-20b", own))
    assert (own / SHARDS[1]).read_bytes() == b"a model that somebody trained"
    (own / SHARDS[1]).write_bytes(gpt_oss()[SHARDS[1]])  # fetched in another way
    folder_of(run(prepare("gpt-oss-20b", own)))
    assert SHARDS[1] not in server.requested


@pytest.mark.parametrize("dest", [None, "own"])
def test_a_damaged_shard_is_fetched_again_alone(server: HubServer, tmp_path: Path, dest: str | None) -> None:
    own = tmp_path / dest if dest else None
    folder = folder_of(run(prepare("gpt-oss-20b", own)))
    damage(folder / SHARDS[1])
    assert not hub.is_usable(folder)
    server.requested.clear()
    events = run(prepare("gpt-oss-20b", own))
    assert Damaged(SHARDS[1]) in events and server.requested == [SHARDS[1]]
    assert contents(folder_of(events)) == expected(gpt_oss()) and hub.is_usable(folder)


def test_a_damage_that_no_time_tells_is_found_on_demand(server: HubServer) -> None:
    folder = folder_of(run(prepare("gpt-oss-20b")))
    damage(folder / SHARDS[1], keep_time=True)
    assert run(prepare("gpt-oss-20b")) == [Downloaded(folder)]
    server.requested.clear()
    events = run(prepare("gpt-oss-20b"), again=True)
    assert Damaged(SHARDS[1]) in events and server.requested == [SHARDS[1]]
    assert contents(folder_of(events)) == expected(gpt_oss())


def damage(path: Path, *, keep_time: bool = False) -> None:
    """Change one byte of a file."""
    path = path.resolve()
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    time = status.st_mtime_ns if keep_time else status.st_mtime_ns + 1
    os.utime(path, ns=(time, time))


def test_a_file_cut_short_is_fetched_again(server: HubServer) -> None:
    folder = folder_of(run(prepare("gpt-oss-20b")))
    os.truncate((folder / SHARDS[0]).resolve(), 5)
    server.requested.clear()
    assert contents(folder_of(run(prepare("gpt-oss-20b")))) == expected(gpt_oss())
    assert server.requested == [SHARDS[0]]


@pytest.mark.parametrize("content", [b"x" * 50, b"x" * 200_000, b""])
def test_a_partial_file_that_is_no_beginning_of_the_file(server: HubServer, content: bytes) -> None:
    plan = prepare("gpt-oss-20b")
    shard = next(file for file in plan.files if file.name == SHARDS[0])
    plan.target.partial(shard).parent.mkdir(parents=True)
    plan.target.partial(shard).write_bytes(content)
    events = run(plan)
    progress = [event.done for event in events if isinstance(event, Progress)]
    assert contents(folder_of(events)) == expected(gpt_oss())
    assert progress == sorted(progress)


STEPS: list[tuple[type, str]] = [
    (ModelFolder, "take"),
    (Record, "add"),
    (ModelFolder, "link"),
    (ModelFolder, "name_revision"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "name"), STEPS)
def test_it_may_end_between_any_two_steps(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: bool
) -> None:
    """As by kill -9, before and after each thing that is written; then it goes on."""
    original: Callable[..., object] = getattr(owner, name)

    class Killed(Exception):
        pass

    def killed(self: object, *arguments: object) -> object:
        if after:
            original(self, *arguments)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, killed)
        run(prepare("gpt-oss-20b"))
    usable = hub.default_model() == "gpt-oss-20b"
    assert usable == ((owner, name, after) == (ModelFolder, "name_revision", True))
    plan, server.asked = prepare("gpt-oss-20b"), 0
    present = plan.present
    assert contents(folder_of(run(plan))) == expected(gpt_oss())
    assert hub.default_model() == "gpt-oss-20b"
    assert server.asked == plan.total - present < plan.total


def test_files_with_the_same_content(server: HubServer) -> None:
    files = gpt_oss()
    files[SHARDS[1]] = files[SHARDS[0]]
    files["tokenizer_config.json"] = files["generation_config.json"]
    server.repos[REPO].publish(files)
    assert contents(folder_of(run(prepare("gpt-oss-20b")))) == expected(files)


def test_an_empty_file(server: HubServer) -> None:
    files = gpt_oss() | {"tokenizer_config.json": b""}
    server.repos[REPO].publish(files)
    assert contents(folder_of(run(prepare("gpt-oss-20b")))) == expected(files)


def test_a_model_in_one_file(server: HubServer) -> None:
    files = {name: data for name, data in gpt_oss().items() if "model" not in name} | {"model.safetensors": b"w"}
    server.repos[REPO].publish(files)
    folder = folder_of(run(prepare("gpt-oss-20b")))
    assert (folder / "model.safetensors").read_bytes() == b"w" and hub.default_model() == "gpt-oss-20b"


def test_two_downloads_of_one_model_at_a_time(server: HubServer) -> None:
    first = fetch(prepare("gpt-oss-20b"))
    next(first)
    with pytest.raises(CheckpointError, match="another gptoss-chat"):
        run(prepare("gpt-oss-20b"))
    first.close()
    folder_of(run(prepare("gpt-oss-20b")))


def test_a_full_disk_is_noticed_before_a_byte(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = prepare("gpt-oss-20b")
    usage = shutil.disk_usage(plan.target.root.parents[1])
    spare = 64 << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=plan.total + spare - 1))
    with pytest.raises(CheckpointError, match=r"67.4 MB free, and 0.3 MB are still to be fetched"):
        run(plan)
    assert server.requested == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=plan.total + spare))
    run(plan)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    run(prepare("gpt-oss-20b"))  # nothing is missing


def test_the_login_goes_to_the_hub_and_not_to_the_storage(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.token = "hf_secret"
    with pytest.raises(CheckpointError, match="HF_TOKEN"):
        prepare("gpt-oss-20b")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    folder_of(run(prepare("gpt-oss-20b")))
    assert any(is_large(name) for name in server.requested) and server.leaked == []


def test_hostile_names_are_not_needed(server: HubServer, tmp_path: Path) -> None:
    evil = {"model-/../../../evil.safetensors": b"x", "../config.json": b"x", "model-\x1b[2J.safetensors": b"x"}
    server.repos[REPO].publish(gpt_oss() | evil)
    folder = folder_of(run(prepare("gpt-oss-20b")))
    assert contents(folder) == expected(gpt_oss())
    assert not list(tmp_path.rglob("evil*"))


def test_a_hub_that_names_a_folder_elsewhere(server: HubServer) -> None:
    server.repos[REPO].commits["../../../../evil"] = gpt_oss()
    with pytest.raises(CheckpointError, match="HF_ENDPOINT"):
        prepare("gpt-oss-20b")


@pytest.mark.parametrize(
    ("kind", "files", "message"),
    [
        ("llama", gpt_oss(), "is a model of another kind, llama; this program runs gpt-oss"),
        ("gpt_oss", {"model.gguf": b"x", "config.json": b"{}"}, "has GGUF, .*, and no weights as safetensors"),
        (
            "gpt_oss",
            {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"},
            "is a LoRA adapter, not a model",
        ),
        (None, {}, "has no weights as safetensors"),
    ],
)
def test_other_models_are_not_fetched(
    server: HubServer, kind: str | None, files: dict[str, bytes], message: str
) -> None:
    server.repos[REPO].model_type = kind
    server.repos[REPO].publish(files)
    with pytest.raises(CheckpointError, match=message):
        prepare("gpt-oss-20b")
    assert server.requested == []


def test_a_repository_that_lacks_a_shard(server: HubServer) -> None:
    server.repos[REPO].publish({name: data for name, data in gpt_oss().items() if name != SHARDS[1]})
    with pytest.raises(CheckpointError, match="is incomplete on the Hub"):
        run(prepare("gpt-oss-20b"))
    assert hub.default_model() == "demo"


def test_names_that_are_none() -> None:
    with pytest.raises(CheckpointError, match="is no model on the Hub"):
        prepare("nonsense")
    with pytest.raises(CheckpointError, match="demo is a part of the program: there is nothing to download"):
        prepare("demo")
