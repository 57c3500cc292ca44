"""The kit "python": what the model is told of it, what a cell wants, and what is left behind."""

from pathlib import Path
from typing import Any

import pytest

from app.tools import python_kit
from app.tools.permission import Decision
from app.tools.python_kit import PythonKit
from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.python import tool


class Python:
    """Stands in for the real one: confined or not, as a test says."""

    name = declaration = "python"
    why_not = "the sandbox is missing"
    usable = True
    confined = False
    will_be_confined = True
    data = "/mnt/data"

    def __init__(self, folder: Path, **_: Any) -> None:
        folder.mkdir(parents=True)

    async def prepare(self) -> None:
        self.confined = self.will_be_confined

    async def close(self) -> None: ...


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_kit, "Python", Python)


@pytest.mark.parametrize("confined", [True, False])
async def test_what_holds_of_python_here(confined: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Python, "will_be_confined", confined)
    kit = PythonKit(tmp_path / "work")
    await kit.prepare()
    assert kit.instructions.startswith("Internet access of python is disabled. You may") == confined
    assert kit.instructions.endswith("files saved under '/mnt/data' are shown to the user.")
    wish = await kit.wish(ToolCall("python", "1", "analysis", {"code": "1 + 1"}))
    assert (wish.subjects, wish.shown, wish.always) == (("python",), "1 + 1", confined)
    assert wish.default is (Decision.ALLOW if confined else Decision.ASK)
    assert confined or wish.why == "it is not confined here: the sandbox is missing"


async def test_a_folder_with_files_stays(tmp_path: Path) -> None:
    for name in ("empty", "full"):
        kit = PythonKit(tmp_path / name)
        if name == "full":
            (kit.folder / "plot.png").write_bytes(b"x")
        await kit.close()
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


async def test_a_folder_that_can_t_be_made_is_said_and_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_kit, "Python", tool.Python)
    (tmp_path / "file").write_text("")
    kit = PythonKit(tmp_path / "file" / "work")
    await kit.prepare()
    assert kit.trouble == f"{tmp_path / 'file' / 'work'}: Not a directory"
