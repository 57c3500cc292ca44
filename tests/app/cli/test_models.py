"""`gptoss-chat models` and `doctor` where the Hub's cache is out of reach, and what loading says of it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cli import loading, models
from app.cli import main as cli
from app.engine.protocol import Load, Loading, Ready
from mlx_model.hub import environment
from mlx_model.hub.inventory import LocalModel
from tests.fixtures.hub import cache

__all__ = ["cache"]


@pytest.fixture
def no_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The cache is on a disk that isn't connected; returns where it would be."""
    from huggingface_hub import constants

    monkeypatch.setattr(environment, "_DISKS", (str(cache.parent),))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setenv("HOME", str(cache.parent))
    return str(cache)


def test_a_disk_that_is_not_connected_is_named(no_disk: str, capsys: pytest.CaptureFixture[str]) -> None:
    problem = f"{os.path.realpath(no_disk)}/hub, is on a disk that is not connected"
    assert cli.main(["models"]) == 0
    printed = capsys.readouterr()
    assert problem in printed.err and "demo" in printed.out
    assert "download" not in printed.out  # which would go elsewhere
    assert cli.main(["models", "--json"]) == 0
    printed = capsys.readouterr()
    assert problem in printed.err and [each["name"] for each in json.loads(printed.out)] == ["demo"]
    assert cli.main(["doctor"]) == 0
    assert problem in (text := capsys.readouterr().out) and "none; to download" not in text
    assert cli.main(["download"]) == 1
    assert problem in capsys.readouterr().err
    assert not Path(no_disk).exists()


def test_a_cache_that_is_nowhere(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", "~nobody-of-this-name/hub")
    assert cli.main(["models"]) == 1
    assert "this computer has no home for ~nobody-of-this-name" in capsys.readouterr().err
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "no home for ~nobody-of-this-name" in report["disk"]["problem"] and report["models"] == []
    assert report["default_model"] == "demo"


def test_a_damaged_model_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "org/gpt-oss\n\x1b[2J"
    found = LocalModel(evil, "Hub cache", Path("/x"), 5, None, False, False, "config.json can't\nbe read")
    monkeypatch.setattr(models, "local_models", lambda: [found])
    assert cli.main(["models"]) == 0
    table, reason = capsys.readouterr().out.split("\n\n")
    assert "damaged" in table and len(table.splitlines()) == 3
    assert reason == "org/gpt-oss \u241b[2J: config.json can't be read\n"


class Engine:
    """Loads `model` at once."""

    def __init__(self, model: str) -> None:
        self.model = model

    async def load(self, load: Load) -> AsyncIterator[Loading | Ready]:
        yield Loading(self.model, default=load.model is None)
        yield Ready(self.model, context_length=1, resident_bytes=1, budget_bytes=1, load_s=0.0)


def load(model: str) -> None:
    asyncio.run(loading.load_model(Engine(model), Load(None)))  # type: ignore[arg-type]


def test_loading_says_why_the_demo_answers(no_disk: str, capsys: pytest.CaptureFixture[str]) -> None:
    load("demo")
    assert "because gpt-oss-20b is on a disk that is not connected, if it was downloaded" in capsys.readouterr().err


def test_loading_says_that_a_model_was_never_verified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loading, "unverified", lambda model: f"{model} was never verified")
    load("gpt-oss-20b")
    assert capsys.readouterr().err == "gptoss-chat: gpt-oss-20b was never verified\n"
