"""Folders of models that anyone may have made: each command says one clear line or lists it, and never waits or fails.

Every nasty file stands in a cache beside a sound model, which no other may take away.
"""

import json
from pathlib import Path

import pytest

from app.cli import main as cli
from mlx_model.errors import GptossError
from mlx_model.model import load
from tests.fixtures.hostile import FILES, SOUND, hostile_folders

COMMANDS = [("models",), ("models", "--json"), ("doctor",), ("doctor", "--json")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return hostile_folders(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def cache(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of them in the Hub's cache and, with another name, in LM Studio's folder."""
    from huggingface_hub import constants

    root = folders[SOUND].parents[2]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".lmstudio" / "models").symlink_to(root / "lmstudio")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_folder_takes_a_listing_away(
    cache: None, folders: dict[str, Path], command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    text = printed.out.replace("\n", "")
    assert text.isprintable()
    if command[-1] == "--json":
        report = json.loads(printed.out)
        found = report if isinstance(report, list) else report["models"]
        assert {model["name"] for model in found if model["complete"]} >= {f"org/{SOUND}"}
        damaged = [model for model in found if model["problem"]]
        assert damaged and not any(model["complete"] or model["verified"] for model in damaged)
    else:
        assert f"org/{SOUND}" in text and max(map(len, printed.out.splitlines())) < 600


@pytest.mark.parametrize("name", FILES)
def test_each_is_refused_in_one_line(folders: dict[str, Path], name: str) -> None:
    with pytest.raises(GptossError) as caught:
        load(folders[name])
    text = str(caught.value)
    assert str(folders[name]) in text and text.count("\n") == 0
    assert len(text) < 600


def test_the_sound_one_loads(folders: dict[str, Path]) -> None:
    assert load(folders[SOUND]).tokenizer is not None
