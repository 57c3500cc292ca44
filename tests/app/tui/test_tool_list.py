"""The list of tools: what is said of each, and what a choice in it switches."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from app.chat.conversation import CallFacts, Conversation
from app.paths import mcp_file
from app.tools import kits
from app.tools.permission import Decision, Rule
from app.tui.parts.tool_list import last_error, rows_off, rows_on
from app.tui.text.tool_rows import ToolRow
from mlx_model.harmony.message import Message, Role
from tests.fixtures.fake_kit import CALL, Kit
from tests.fixtures.fakes import FakeEngine, chat, desk_of, idle, on_screen, send, text_on, wait_until
from tests.fixtures.trees import TURN

THERE = {"python": "runs code", "files": "reads a folder"}


async def count(texts: Sequence[str]) -> tuple[list[int], bool]:
    return [len(text) for text in texts], True


def called(*results: tuple[str, str, bool]) -> Conversation:
    """A conversation in which these tools gave these results, some of them errors."""
    tree = Conversation()
    facts = replace(TURN, calls=tuple(CallFacts(error=error) for _, _, error in results))
    messages = [m for name, text, _ in results for m in (CALL, Message(Role.TOOL, text, name, "analysis", "assistant"))]
    tree.add_answer(tree.add_prompt("q", None).id, facts, messages)
    return tree


def test_what_is_on_is_marked_and_what_is_gone_says_so() -> None:
    assert rows_off(THERE, ["files=/home/me/project", "wiki"]) == [
        ToolRow("python", "runs code", False, ""),
        ToolRow("files", "files in /home/me/project", True, ""),
        ToolRow("wiki", "no longer configured", True, ""),
    ]


async def test_a_kit_says_how_it_is_which_rules_are_about_it_and_what_went_wrong_last() -> None:
    conversation = called(("python", "fine", False), ("python", "ZeroDivisionError\nline 2", True), ("other", "", True))
    rules = [Rule("python", Decision.ALLOW), Rule("*", Decision.ASK), Rule("browser", Decision.DENY)]
    python, files = await rows_on(rows_off(THERE, ["python"]), [Kit()], rules, conversation, count)
    assert python.state == "not confined, asks before each cell" and python.usable and python.counted
    assert (python.rule, python.error) == ("allow python, ask *", "ZeroDivisionError")
    assert python.tokens > len("Plots are shown.") and files == ToolRow("files", "reads a folder", False, "")
    kit = Kit()
    kit.trouble = "it is missing"
    (python,) = await rows_on(rows_off({}, ["python"]), [kit], [], conversation, count)
    assert (python.state, python.usable) == ("it is missing", False)


@pytest.mark.parametrize(
    ("results", "error"),
    [((("python", "E", True), ("python", "fine", False)), ""), ((("functions.python", "E", True),), "E"), ((), "")],
)
def test_the_last_call_decides_whether_there_is_an_error(
    results: tuple[tuple[str, str, bool], ...], error: str
) -> None:
    assert last_error(called(*results), Kit()) == error


def test_a_tools_own_words_for_what_went_wrong_come_first() -> None:
    conversation = called(("python", '  File "<cell 1>"', True))
    node = conversation.path[-1]
    facts = replace(TURN, calls=(CallFacts(error=True, outcome="NameError: x"),))
    conversation.update_answer(node.id, facts, node.messages)
    assert last_error(conversation, Kit()) == "NameError: x"


async def test_a_choice_in_the_list_switches_and_a_folder_has_to_be_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kits, "kits_of", lambda names, conversation: [Kit() for _ in names])
    mcp_file().parent.mkdir(parents=True, exist_ok=True)
    mcp_file().write_text('{"mcpServers": {"wiki": {"url": "ftp://x"}}}')
    async with chat(FakeEngine(), (100, 30)) as pilot:
        await idle(pilot)
        await send(pilot, "/tools")
        await on_screen(pilot, "[ ] python")
        assert "mcpServers.wiki.url is 'ftp://x'" in " ".join(text_on(pilot).replace("\u2502", "").split())
        await pilot.press("space", "escape")
        await on_screen(pilot, "tools: python")
        await send(pilot, "/tools")
        await on_screen(pilot, "not confined, asks before each cell")
        while "[x] files" not in text_on(pilot):
            await pilot.press("down", "space")
            await pilot.pause()
        await pilot.press("escape")
        await on_screen(pilot, "Which folder may the model read?")
        assert desk_of(pilot).composer.text.startswith("/tools python") and "files " in desk_of(pilot).composer.text
        assert "tools: python" in text_on(pilot)
        folder = (tmp_path / "my project").resolve()
        folder.mkdir()
        desk_of(pilot).composer.clear_prompt()
        await send(pilot, f"/tools python files '{folder}'")
        await on_screen(pilot, "tools: python, files")
        await send(pilot, "/tools")
        await on_screen(pilot, "[x] files")
        await pilot.press("space", "escape")  # python
        await wait_until(pilot, lambda: "tools: files" in text_on(pilot))
