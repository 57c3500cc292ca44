"""Where models are found, and fetching them with the real huggingface_hub client from a local server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_model import hub
from mlx_model.errors import CheckpointError
from mlx_model.model import load
from tests.checkpoints import tiny_config, write_checkpoint
from tests.hub_server import COMMIT, serving

REPO = "openai/gpt-oss-20b"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def published(tmp_path: Path) -> dict[str, bytes]:
    """The files of a repository laid out as OpenAI's: the weights once more in original/, and for Metal."""
    folder = write_checkpoint(tmp_path / "published", tiny_config(), shards=3)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {"original/model.safetensors": b"x" * 1000, "metal/model.bin": b"x" * 1000, "README.md": b"hi"}


def command(call: str, cache: Path, endpoint: str) -> subprocess.CompletedProcess[str]:
    """`call` of mlx_model.hub in a process of its own: the client reads its environment when it is imported."""
    environment = os.environ | {
        "HF_HUB_CACHE": str(cache),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    code = (
        f"from mlx_model import hub, errors\ntry: print(hub.{call})\nexcept errors.CheckpointError as e: print('!', e)"
    )
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)


def test_the_demo_ships_with_the_program() -> None:
    assert (hub.resolve("demo") / "config.json").is_file()


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert hub.resolve(tmp_path) == hub.resolve(str(tmp_path)) == tmp_path


def test_a_known_model_that_is_not_there(cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gptoss-chat download gpt-oss-20b \(13.8 GB\)"):
        hub.resolve("gpt-oss-20b")
    assert hub.default_model() == "demo"


@pytest.mark.parametrize("name", ["gpt-4", "", "./missing", "/missing/folder", "a/b/c", "~/x"])
def test_unknown_names(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="there is no model"):
        hub.resolve(name)


@pytest.mark.parametrize("name", ["org/name", "org/na..me", "-/-", "org/na me"])
def test_repositories_that_are_not_there(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="is not on this computer"):
        hub.resolve(name)


def test_download_fetches_what_is_needed_and_no_more(tmp_path: Path, published: dict[str, bytes]) -> None:
    cache = tmp_path / "hub"
    with serving({REPO: published}) as server:
        first = command("download('gpt-oss-20b')", cache, server.url)
        assert f"snapshots/{COMMIT}" in first.stdout, first.stderr
        assert set(server.requested) == {name for name in published if name.startswith("model") or "config" in name}
        server.requested.clear()
        again = command("download('gpt-oss-20b')", cache, server.url)
        assert again.stdout == first.stdout
        assert server.requested == []
    # From here on without a server: the model is found, complete and the default.
    nowhere = "http://127.0.0.1:9"
    assert command("resolve('gpt-oss-20b')", cache, nowhere).stdout == first.stdout
    assert command("default_model()", cache, nowhere).stdout.strip() == "gpt-oss-20b"
    assert load(Path(first.stdout.strip())).config.num_hidden_layers == 4


def test_an_incomplete_download_is_not_the_default(tmp_path: Path, published: dict[str, bytes]) -> None:
    shard = json.loads(published["model.safetensors.index.json"])["weight_map"]["lm_head.weight"]
    cache = tmp_path / "hub"
    with serving({REPO: {name: data for name, data in published.items() if name != shard}}) as server:
        command("download('gpt-oss-20b')", cache, server.url)
    assert command("default_model()", cache, server.url).stdout.strip() == "demo"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("download('no/such-model')", "downloading no/such-model failed"),
        ("download('nonsense')", "is no model on the Hub"),
        ("download('gpt oss/20b')", "is no repository name"),
    ],
)
def test_download_of_what_does_not_exist(tmp_path: Path, call: str, message: str) -> None:
    with serving({}) as server:
        result = command(call, tmp_path, server.url)
    assert message in result.stdout
    assert result.stderr == ""


def test_download_without_a_network(tmp_path: Path) -> None:
    result = command("download('gpt-oss-20b')", tmp_path, "http://127.0.0.1:9")
    assert result.stdout.startswith("! the Hub can't be reached"), result
    assert "Traceback" not in result.stderr
