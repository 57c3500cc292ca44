"""Names of models, and where they are found on this computer."""

import shutil
from pathlib import Path

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import names as hub
from mlx_model.hub.download import fetch, prepare
from mlx_model.hub.names import Repository
from mlx_model.model import load
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import HubServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("gpt-oss-20b", REPO, "main"),
        ("gpt-oss-120b@v1.0", "openai/gpt-oss-120b", "v1.0"),
        ("org/name", "org/name", "main"),
        ("mlx-community/gpt-oss-20b-MXFP4-Q8@refs/pr/3", "mlx-community/gpt-oss-20b-MXFP4-Q8", "refs/pr/3"),
        (f"a.b/c_d@{COMMIT}", "a.b/c_d", COMMIT),
        ("org/name@", "org/name", "main"),
    ],
)
def test_names_of_repositories(text: str, name: str, revision: str) -> None:
    assert Repository.parse(text) == Repository(name, revision)


@pytest.mark.parametrize("name", ["gpt-4", "", "a/b/c", "~/x", "-/-", "org/na me", "org/..", "../..", "org/na..me"])
@pytest.mark.parametrize("revision", ["", "@main"])
def test_what_can_be_no_repository(name: str, revision: str) -> None:
    assert Repository.parse(name + revision) is None


@pytest.mark.parametrize("revision", ["..", "../../x", "/etc", "a//b", "a/../b", "\x1b[2J", "ma in"])
def test_what_can_be_no_revision(revision: str) -> None:
    assert Repository.parse(f"org/name@{revision}") is None


def test_huggingface_hub_takes_the_same_names() -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined]

    for name in (
        "org/name",
        "a.b/c_d",
        "o/n",
        "org/a-b.c",
        "org/-a",
        "org/a-",
        "org/a--b",
        "org/a..b",
        "or g/n",
        "o/.n",
    ):
        try:
            validate_repo_id(name)
        except HFValidationError:
            assert Repository.parse(name) is None, name
        else:
            assert Repository.parse(name) is not None, name


def test_the_demo_ships_with_the_program() -> None:
    assert (hub.resolve("demo") / "config.json").is_file()


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert hub.resolve(tmp_path) == hub.resolve(str(tmp_path)) == tmp_path


def test_the_folder_of_a_repository_is_its_newest_revision(server: HubServer, cache: Path) -> None:
    for _ in fetch(prepare("gpt-oss-20b")):
        pass
    root = cache / "models--openai--gpt-oss-20b"
    assert hub.resolve(root) == hub.resolve("gpt-oss-20b")
    (root / "refs" / "main").write_text("../..")
    assert hub.resolve(root) == root  # and loading says what is wrong


def test_names_in_other_case_and_in_quotes(server: HubServer, cache: Path, tmp_path: Path) -> None:
    other = "mlx-community/gpt-oss-20b-MXFP4-Q8"
    server.repos[other] = server.repos[REPO]
    for _ in fetch(prepare(other)):
        pass
    folder = hub.resolve(other)
    assert hub.resolve("MLX-Community/GPT-oss-20b-mxfp4-q8") == hub.resolve(f"https://huggingface.co/{other}") == folder
    (cache / "models--MLX-community--gpt-oss-20b-MXFP4-Q8").mkdir()
    with pytest.raises(CheckpointError, match="is not on this computer"):
        hub.resolve("mlx-COMMUNITY/gpt-oss-20b-MXFP4-Q8")  # which of the two?
    assert hub.resolve(f'"{tmp_path}"') == hub.resolve(f"{tmp_path}/ ") == tmp_path
    assert hub.resolve("Demo") == hub.resolve("\u201cdemo\u201d") == hub.resolve("demo")


@pytest.mark.parametrize(
    ("name", "says"),
    [("model.safetensors", "is a file: give the folder"), ("gpt-oss-20b-Q4.GGUF", "is GGUF, llama.cpp's format")],
)
def test_a_file_is_no_model(tmp_path: Path, cache: Path, name: str, says: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=says):
        hub.resolve(tmp_path / name)


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "~nobody-of-this-name/models/x"])
def test_the_home_of_someone_unknown(cache: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from huggingface_hub import constants

    with pytest.raises(CheckpointError, match="this computer has no home for ~nobody-of-this-name"):
        hub.resolve(name)
    with pytest.raises(CheckpointError, match="this computer has no home for ~nobody-of-this-name"):
        prepare("gpt-oss-20b", name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", name)
    with pytest.raises(CheckpointError, match="this computer has no home for ~nobody-of-this-name"):
        hub.resolve("gpt-oss-20b")


def test_a_known_model_that_is_not_there(cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gptoss-chat download gpt-oss-20b \(13.8 GB\)"):
        hub.resolve("gpt-oss-20b")
    assert hub.default_model() == "demo"


@pytest.mark.parametrize("name", ["gpt-4", "", "./missing", "/missing/folder", "a/b/c", "~/x", "org/na me"])
def test_unknown_names(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="there is no model"):
        hub.resolve(name)


@pytest.mark.parametrize("name", ["org/name", "org/name@v2", f"org/name@{COMMIT}"])
def test_repositories_that_are_not_there(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="is not on this computer"):
        hub.resolve(name)


@pytest.mark.parametrize("reference", ["", "\n", "../../..", "x" * 40, COMMIT])
def test_a_damaged_reference_leads_nowhere(cache: Path, reference: str) -> None:
    path = Repository(REPO).cache / "refs" / "main"
    path.parent.mkdir(parents=True)
    path.write_text(reference)
    assert Repository(REPO).snapshot() is None
    assert hub.default_model() == "demo"


def test_a_downloaded_model_is_found_by_every_name_and_loads(server: HubServer, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "published", tiny_config(), shards=3)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    tokenizer = hub.resolve("demo") / "tokenizer.json"
    commit = server.repos[REPO].publish(files | {"tokenizer.json": tokenizer.read_bytes()})
    for _ in fetch(prepare("gpt-oss-20b")):
        pass
    found = hub.resolve("gpt-oss-20b")
    assert found == hub.resolve(REPO) == hub.resolve(f"{REPO}@main") == hub.resolve(f"gpt-oss-20b@{commit}")
    assert found.name == commit
    assert hub.default_model() == "gpt-oss-20b"
    assert load(found).config.num_hidden_layers == 4


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model-00001-of-00002.safetensors"])
def test_an_incomplete_model_is_not_the_default(server: HubServer, missing: str) -> None:
    for _ in fetch(prepare("gpt-oss-20b")):
        pass
    folder = hub.resolve("gpt-oss-20b")
    assert hub.default_model() == "gpt-oss-20b"
    (folder / missing).unlink()
    assert not hub.is_complete(folder)
    assert hub.default_model() == "demo"


def test_a_folder_that_was_never_verified_is_complete_but_not_usable(tmp_path: Path, server: HubServer) -> None:
    for _ in fetch(prepare("gpt-oss-20b")):
        pass
    copied = Path(shutil.copytree(hub.resolve("gpt-oss-20b"), tmp_path / "copied"))
    assert hub.is_complete(copied) and not hub.is_usable(copied)


@pytest.mark.parametrize("index", [b"", b"[]", b'{"weight_map": 3}', b'{"weight_map": []}', b"\xff"])
def test_an_unreadable_index_makes_it_incomplete(tmp_path: Path, index: bytes) -> None:
    for name in ("config.json", "tokenizer.json", "model-00000-of-00000.safetensors"):
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "model.safetensors.index.json").write_bytes(index)
    assert not hub.is_complete(tmp_path)


def test_only_files_of_the_folder_itself_are_needed() -> None:
    for name in ("model-00000-of-00002.safetensors", "model.safetensors", "config.json", "tokenizer.json"):
        assert hub.is_needed(name)
    for name in ("original/model.safetensors", "model-/../../x.safetensors", "model-\x1b[2J.safetensors", "README.md"):
        assert not hub.is_needed(name)
