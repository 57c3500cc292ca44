"""The tools that are switched on: their names, who decides on a call, and what is left behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.tools import switched_on
from app.tools.names import read_names
from app.tools.switched_on import FORBIDDEN, SwitchedOn
from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall

CALL = ToolCall("python", "1", "analysis", {"code": "1"})


class Python:
    """Stands in for the real one: confined or not, as a test says."""

    name = declaration = "python"
    why_not = "the sandbox is missing"
    confined = False
    will_be_confined = True
    data = "/mnt/data"

    def __init__(self, folder: Path, **_: Any) -> None:
        folder.mkdir(parents=True)
        self.closed = False

    async def prepare(self) -> None:
        self.confined = self.will_be_confined

    async def run(self, *_: object) -> None: ...

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def unconfined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Python, "will_be_confined", False)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switched_on, "Python", Python)


async def decision(folder: Path, permissions: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """What becomes of a call, and what the person was told when asked."""
    asked: list[str] = []

    async def ask(call: ToolCall, why: str) -> str | None:
        asked.append(why)
        return "declined"

    tools = SwitchedOn(("python",), folder / "work", permissions, ask)
    reason = await tools.approve(CALL)
    await tools.close()
    return reason, asked


async def test_confined_code_runs_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    assert await decision(tmp_path, {}) == (None, [])
    assert await decision(tmp_path, {"python": "deny"}) == (FORBIDDEN, [])
    assert await decision(tmp_path, {"python": "ask"}) == ("declined", ["the settings say so"])


@pytest.mark.usefixtures("unconfined")
async def test_code_that_is_not_confined_is_asked_each_time(tmp_path: Path) -> None:
    why = ["it is not confined here: the sandbox is missing"]
    for permissions in ({}, {"python": "allow"}):
        assert await decision(tmp_path, permissions) == ("declined", why)


@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize("own", [None, "Be brief."])
async def test_the_model_is_told_what_holds_of_python_here(
    own: str | None, confined: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(call: ToolCall, why: str) -> str | None:
        raise AssertionError

    monkeypatch.setattr(Python, "will_be_confined", confined)
    told = await SwitchedOn(("python",), tmp_path / "work", {}, ask).instructions(own)
    assert told is not None
    assert told.startswith("Be brief.\n\n") == (own is not None)
    assert ("Internet access of python is disabled. You may" in told) == confined
    assert told.endswith("files saved under '/mnt/data' are shown to the user.")


async def test_a_folder_with_files_stays(tmp_path: Path) -> None:
    async def ask(call: ToolCall, why: str) -> str | None:
        raise AssertionError

    for name in ("empty", "full"):
        tools = SwitchedOn(("python",), tmp_path / name, {}, ask)
        if name == "full":
            (tools.folder / "plot.png").write_bytes(b"x")
        await tools.close()
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("text", ["python", " Python ,python", "python python"])
def test_names(text: str) -> None:
    assert read_names(text) == ("python",)


@pytest.mark.parametrize(
    ("text", "message"), [("nmap", "there is no tool 'nmap'; there is: python"), (" , ", "name the tools")]
)
def test_names_that_there_are_not(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_names(text)
