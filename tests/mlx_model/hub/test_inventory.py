"""What `gptoss-chat models` finds on this computer, and removing it."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub.download import Downloaded, Progress, fetch, prepare
from mlx_model.hub.inventory import LocalModel, local_models, removal, unverified
from mlx_model.hub.names import resolve
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import HubServer, Repo, gpt_oss

SHARD = "model-00001-of-00002.safetensors"
QUANTISED = "mlx-community/gpt-oss-20b-MXFP4-Q8"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without models."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def download(name: str = "gpt-oss-20b") -> Path:
    *_, last = fetch(prepare(name, update=True))
    assert isinstance(last, Downloaded)
    return last.folder


def remove(name: str) -> int:
    """Remove a model; returns the bytes that it was said to free."""
    found = removal(name)
    found.run()
    return found.size


def size_of(cache: Path) -> int:
    return sum(path.stat().st_size for path in cache.rglob("*") if path.is_file() and not path.is_symlink())


def write(folder: Path, files: dict[str, bytes], *, but: str = "") -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        if "/" not in name and name != but:
            (folder / name).write_bytes(data)
    return folder


def test_nothing_at_all() -> None:
    assert local_models() == []


def test_a_downloaded_model(server: HubServer) -> None:
    folder = download()
    size = prepare("gpt-oss-20b").total
    assert local_models() == [LocalModel("gpt-oss-20b", "Hub cache", folder, size, 300_000, True, True)]


def test_one_that_was_begun(server: HubServer) -> None:
    server.hold(150_000)
    cancel = Event()
    for event in fetch(prepare("gpt-oss-20b"), cancel):
        if isinstance(event, Progress) and event.done > 50_000:
            cancel.set()
    server.release()
    [model] = local_models()
    assert (model.name, model.complete, model.verified, model.expected) == ("gpt-oss-20b", False, False, 300_000)
    assert model.size == prepare("gpt-oss-20b").present


def test_one_begun_by_another_tool_without_any_whole_file(cache: Path) -> None:
    for name in ("openai--gpt-oss-120b", "org--other"):
        blobs = cache / f"models--{name}" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "abc.1234.incomplete").write_bytes(b"x" * 10)
    [model] = local_models()
    assert (model.name, model.size, model.complete) == ("gpt-oss-120b", 10, False)
    assert remove("gpt-oss-120b") == 10
    assert local_models() == []


def test_what_other_tools_fetched(server: HubServer) -> None:
    from huggingface_hub import snapshot_download

    server.repos[QUANTISED] = Repo()
    server.repos[QUANTISED].publish(gpt_oss(seed=3))
    server.repos["org/llama"] = Repo()
    server.repos["org/llama"].publish(gpt_oss(seed=4) | {"config.json": b'{"model_type": "llama"}'})
    for repository in (QUANTISED, "org/llama"):
        snapshot_download(repository)
    [model] = local_models()
    assert (model.name, model.complete, model.verified) == (QUANTISED, True, False)


def test_two_revisions(server: HubServer) -> None:
    old = download()
    server.repos[REPO].publish(gpt_oss(seed=1))
    new = download()
    found = {model.name: model.folder for model in local_models()}
    assert found == {"gpt-oss-20b": new, f"{REPO}@{old.name}": old}
    assert all(resolve(name) == folder for name, folder in found.items())


@pytest.mark.parametrize("top", [".lmstudio/models", ".cache/lm-studio/models"])
def test_lm_studio(home: Path, top: str) -> None:
    files = gpt_oss()
    folder = write(home / top / "mlx-community" / "gpt-oss-20b-MXFP4-Q8", files)
    half = write(home / top / "mlx-community" / "half", files, but="model-00001-of-00002.safetensors")
    write(home / top / "org" / "other", files | {"config.json": b'{"model_type": "qwen"}'})
    write(home / top / "org" / "broken", files | {"config.json": b"{"})
    (home / top / "org" / "gguf").mkdir(parents=True)
    found = {model.name: (model.source, model.complete, model.verified) for model in local_models()}
    assert found == {str(folder): ("LM Studio", True, False), str(half): ("LM Studio", False, False)}
    with pytest.raises(CheckpointError, match="belongs to LM Studio: remove it there"):
        removal(str(folder))


@pytest.mark.parametrize(
    "index", [b"", b"[]", b'{"metadata": 3}', json.dumps({"metadata": {"total_size": "x"}}).encode()]
)
def test_an_index_that_says_nothing(home: Path, index: bytes) -> None:
    write(home / ".lmstudio/models/a/gpt-oss", gpt_oss() | {"model.safetensors.index.json": index})
    [model] = local_models()
    assert model.expected is None and not model.complete


def test_a_folder_that_can_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/x/hub")

    monkeypatch.setattr(Path, "glob", denied)
    with pytest.raises(CheckpointError, match="/x/hub can't be read: Permission denied; check its permissions"):
        local_models()


def test_what_another_program_fetched_is_said_to_be_unverified_once(server: HubServer, tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    assert unverified("gpt-oss-20b") is None  # it isn't there
    snapshot_download(REPO)
    line = unverified("gpt-oss-20b")
    assert line is not None and line.endswith("gptoss-chat download gpt-oss-20b")
    assert unverified("gpt-oss-20b") is None
    download()
    assert unverified("gpt-oss-20b") is None and unverified("demo") is None
    assert unverified(str(tmp_path)) is None and unverified("~nobody-of-this-name/x") is None


def test_where_no_note_can_be_left_it_is_said_again(server: HubServer, cache: Path) -> None:
    download()
    own = cache / "models--openai--gpt-oss-20b" / ".gptoss-chat"
    for path in own.iterdir():
        path.unlink()
    own.rmdir()
    own.write_text("in the way")
    assert None is not unverified("gpt-oss-20b") == unverified("gpt-oss-20b")


def test_one_folder_that_can_not_be_read_is_named_beside_the_others(
    server: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = download()
    other = cache / "models--org--gpt-oss-other"
    other.mkdir()
    (cache / "models--org--llama").mkdir()
    read = Path.rglob

    def denied(path: Path, pattern: str) -> Iterator[Path]:
        if path.name in ("models--org--gpt-oss-other", "models--org--llama"):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, pattern)

    monkeypatch.setattr(Path, "rglob", denied)
    sound, damaged = local_models()
    assert sound.folder == kept and sound.problem is None
    assert damaged.problem == f"{other} can't be read: Permission denied; check its permissions"


@pytest.mark.parametrize("total", [-1, True, 1e9, 10**30, "9" * 5000, '"x"', None])
def test_sizes_that_make_no_sense(home: Path, total: object) -> None:
    index = json.dumps({"metadata": {"total_size": 0}, "weight_map": {"a": SHARD}})
    changed = index.replace(
        '"total_size": 0', f'"total_size": {total if isinstance(total, str) else json.dumps(total)}'
    )
    write(home / ".lmstudio/models/a/gpt-oss", gpt_oss() | {"model.safetensors.index.json": changed.encode()})
    [model] = local_models()
    assert model.expected is None


def test_removing_frees_what_it_says(server: HubServer, cache: Path) -> None:
    download()
    server.repos[REPO].publish(gpt_oss(seed=1))
    download()
    server.repos[QUANTISED] = Repo()
    server.repos[QUANTISED].publish(gpt_oss(seed=3))
    kept = download(QUANTISED)
    before = size_of(cache)
    assert remove("gpt-oss-20b") == before - size_of(cache)
    assert [model.folder for model in local_models()] == [kept]


def test_removing_one_revision_leaves_the_other_whole(server: HubServer, cache: Path) -> None:
    old = download()
    server.repos[REPO].publish(gpt_oss(seed=1) | {SHARD: gpt_oss()[SHARD]})
    new = download()
    before = size_of(cache)
    assert remove(f"{REPO}@{old.name}") == before - size_of(cache) > 200_000
    [model] = local_models()
    assert model.folder == new and model.verified
    with pytest.raises(CheckpointError, match="is not in the Hub's cache"):
        removal(f"{REPO}@{old.name}")
    remove(f"{REPO}@main")
    assert not (cache / "models--openai--gpt-oss-20b").exists()


def test_the_demo_can_not_be_removed() -> None:
    with pytest.raises(CheckpointError, match="demo is a part of the program"):
        removal("demo")


@pytest.mark.parametrize("name", ["gpt-oss-20b", "nonsense", "../..", "org/name", "", "/"])
def test_removing_what_is_not_there(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="is not in the Hub's cache"):
        removal(name)


def test_a_file_that_is_put_elsewhere_while_it_is_counted_counts_for_nothing(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a download does with each file that is complete: between looking what it is and asking for its size."""
    download()
    found = Path.rglob

    def with_one_more(folder: Path, pattern: str) -> Iterator[Path]:
        yield from found(folder, pattern)
        gone = folder / "gone.incomplete"
        gone.touch()
        monkeypatch.setattr(Path, "is_file", lambda path: path == gone or stat.S_ISREG(path.stat().st_mode))
        gone.unlink()
        yield gone

    monkeypatch.setattr(Path, "rglob", with_one_more)
    assert removal("gpt-oss-20b").size > 0
    assert [model.complete for model in local_models()] == [True]


def test_a_model_on_its_way_is_not_removed(server: HubServer) -> None:
    events = fetch(prepare("gpt-oss-20b"))
    next(events)
    with pytest.raises(CheckpointError, match="another gptoss-chat"):
        remove("gpt-oss-20b")
    events.close()
    remove("gpt-oss-20b")
    assert local_models() == []
