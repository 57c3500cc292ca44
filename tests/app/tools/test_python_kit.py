"""The kit "python": what the model is told of it, what a cell wants, and what is left behind."""

from pathlib import Path
from typing import Any

import pytest

from app.tools import python_kit
from app.tools.permission import Decision, Wish
from app.tools.python_kit import PythonKit
from app.tools.switched_on import SwitchedOn
from app.tools.verdict import Verdict
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, user
from mlx_model.tools.base import Output, ToolResult
from mlx_model.tools.python import tool


class Python:
    """Stands in for the real one: confined or not, as a test says."""

    name = declaration = "python"
    why_not = "the sandbox is missing"
    usable = True
    confined = False
    will_be_confined = True
    data = "/mnt/data"
    continues = False

    def __init__(self, folder: Path, **_: Any) -> None:
        folder.mkdir(parents=True)

    async def prepare(self) -> None:
        self.confined = self.will_be_confined

    def continue_without_variables(self) -> None:
        self.continues = True

    async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
        raise NotImplementedError

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


async def test_a_conversation_that_goes_on_has_a_new_kernel(tmp_path: Path) -> None:
    cell = Message(Role.ASSISTANT, "x = 1", None, "analysis", "python")
    for name, continues in (("python", True), ("browser.open", False)):
        kit = PythonKit(tmp_path / name)
        await SwitchedOn([kit], {}, ask_nobody).prepare([user("Hi"), cell, Message(Role.TOOL, "1", name)])
        assert kit._python.continues == continues  # type: ignore[attr-defined]


async def ask_nobody(call: ToolCall, wish: Wish) -> Verdict:
    raise NotImplementedError


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
