"""A code block of an answer: keys and clicks save, run and open it, and its output stands below it and is kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Tooltip

from app.chat.commands import BUSY
from app.chat.conversation import BlockRun, CallFacts, Conversation
from app.digests import digest_of
from app.tools import kits
from app.tools.permission import Decision
from app.tui.parts import tools as part
from app.tui.parts import written_files
from app.tui.parts.code_runs import RUNS
from app.tui.text.code_words import RUN
from app.tui.widgets.code_run import CodeRun
from app.tui.widgets.messages import AnswerText
from mlx_model.events import Finished
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import assistant
from mlx_model.tools.base import ROOM, Output, ToolResult
from tests.fixtures.fake_kit import Kit, Tool
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    chat,
    desk_of,
    idle,
    notified,
    on_screen,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import TURN, keep, stored

SEVERAL = "One:\n\n```python\nprint(1)\n```\n\n```html\n<p>\n```\n\n```python\nprint(3)\n```\n"


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    Kit.made = []
    monkeypatch.setattr(kits, "kits_of", lambda names, conversation: [Kit() for _ in names])
    monkeypatch.setattr(part, "GRACE_S", 0.0)
    monkeypatch.chdir(tmp_path)
    yield


async def selected(pilot: Pilot[None], *texts: str, shows: str = "") -> None:
    """A conversation with these answers, of which the last is selected once it `shows` this, its first line."""
    await idle(pilot)
    tree = Conversation()
    above = None
    for text in texts:
        prompt = tree.add_prompt("Write code.", above)
        above = tree.add_answer(prompt.id, TURN, [assistant(text)]).id
    keep(tree)
    await app_of(pilot).conversations.open(tree.id)
    await on_screen(pilot, shows or texts[-1].split("\n", 1)[0])
    await pilot.press("shift+tab")


def runs(pilot: Pilot[None]) -> list[int]:
    """The numbers of the code blocks whose output is shown."""
    return [run.kept.block for run in pilot.app.query(CodeRun)]


async def test_a_code_block_is_run_when_the_person_says_so_and_stopped_by_esc(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    async with chat(engine, (100, 40)) as pilot:
        await selected(pilot, "Nothing.", SEVERAL)
        await on_screen(pilot, "w save  ! run")
        await pilot.press("exclamation_mark")
        await on_screen(pilot, "1 3 run code block  ! the last")
        await pilot.press("2")
        await wait_until(pilot, lambda: notified(pilot, "Code block 2 says neither"))
        assert not Kit.made
        await pilot.press("exclamation_mark", "escape", "1")  # nothing is chosen any more: it is copied
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "python asks: it is not confined here")
        await on_screen(pilot, "waits for you")
        assert text_on(pilot).splitlines()[-1].strip().startswith("Esc no")
        await pilot.press("escape")
        await wait_until(pilot, lambda: notified(pilot, "The code was not run."))
        [kit] = Kit.made
        await wait_until(pilot, lambda: not runs(pilot))
        assert kit.tool.runs == 0 and "asks:" not in text_on(pilot)
        monkeypatch.setattr(Kit, "default", Decision.ALLOW)
        await pilot.press("exclamation_mark", "exclamation_mark")
        await on_screen(pilot, "step 4")
        await pilot.press("exclamation_mark", "1")
        await wait_until(pilot, lambda: notified(pilot, RUNS))
        await pilot.press("escape")
        await on_screen(pilot, "\u2717 stopped")
        assert (kit.tool.runs, kit.tool.cancelled, runs(pilot)) == (1, 1, [3])
        assert desk_of(pilot).transcript.selected  # Esc has stopped it, and did no more
        kit.tool.go.set()
        await pilot.press("exclamation_mark", "3")
        await on_screen(pilot, "a number \u00b7 2.5 s")
        assert "plot.png" in text_on(pilot) and runs(pilot) == [3]  # in place of what came of it before
        await pilot.press("up", "up", "exclamation_mark")  # a message without code: a letter that is typed
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "!")
        desk_of(pilot).composer.load_text("")
        await send(pilot, "Go on.")
        await pilot.press("shift+tab", "up", "up", "exclamation_mark")
        await wait_until(pilot, lambda: notified(pilot, BUSY))
        engine.say(Finished("stop", STATS))
        await idle(pilot)
        assert kit.tool.runs == 2
        kit.tool.go.clear()
        await pilot.press("exclamation_mark", "1")
        await wait_until(pilot, lambda: kit.tool.runs == 3)
        await pilot.press("ctrl+n")  # nobody sees it any more, so it ends
        await wait_until(pilot, lambda: kit.tool.cancelled == 2)
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: kit.closed == 1)


async def test_while_code_runs_the_rows_below_say_how_to_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await selected(pilot, SEVERAL)
        assert "Esc back" in text_on(pilot) and "Esc stop" not in text_on(pilot)
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "step 4")
        keys, footer = text_on(pilot).splitlines()[-2:]
        assert "Esc stop" in keys and "Esc back" not in keys
        assert footer.strip().startswith("Esc stop")
        Kit.made[0].tool.go.set()
        await on_screen(pilot, "a number")
        await wait_until(pilot, lambda: "Esc stop" not in text_on(pilot))
        assert "Esc back" in text_on(pilot)


async def test_an_output_out_of_sight_is_brought_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversation stays at its end only where that shows what was run."""
    below = "\n\n".join(f"Paragraph {number}." for number in range(30))
    let_run(monkeypatch, "the output")
    async with chat(FakeEngine(), (100, 30)) as pilot:
        text = f"```python\nprint(1)\n```\n\n{below}\n\n```python\nprint(2)\n```"
        await selected(pilot, text, shows="print(2)")
        await pilot.press("end")
        assert "print(1)" not in text_on(pilot) and desk_of(pilot).transcript.follows
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "the output")
        assert not desk_of(pilot).transcript.follows
        await pilot.press("end", "exclamation_mark", "2")
        await wait_until(pilot, lambda: runs(pilot) == [1, 2])
        await on_screen(pilot, "the output")
        assert "print(2)" in text_on(pilot) and desk_of(pilot).transcript.follows


async def test_a_code_block_is_saved_under_a_name_that_is_free(tmp_path: Path) -> None:
    async with chat(FakeEngine(), (120, 40)) as pilot:
        await selected(pilot, SEVERAL)
        await pilot.press("w", "2")
        await wait_until(pilot, lambda: notified(pilot, f"Wrote {tmp_path / 'code.html'}"))
        (tmp_path / "code.py").write_text("mine")
        await pilot.press("w", "w")
        await wait_until(pilot, lambda: notified(pilot, f"Wrote {tmp_path / 'code 2.py'}"))
        assert {path.name: path.read_text() for path in tmp_path.glob("code*")} == {
            "code.html": "<p>\n",
            "code.py": "mine",
            "code 2.py": "print(3)\n",
        }


def lines(pilot: Pilot[None]) -> list[str]:
    """What stands in the answer, without the bar that marks it."""
    found = [line.split("\u2588 ")[-1].strip() for line in text_on(pilot).splitlines()]
    return [line for line in found[1:] if line]


def runs_on_disk() -> list[BlockRun]:
    """What is kept of the last conversation."""
    return [run for node in stored()[0].nodes.values() for run in node.runs]


def let_run(monkeypatch: pytest.MonkeyPatch, text: str, **facts: Any) -> None:
    """Every run gives this at once."""

    async def run(tool: Tool, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        return ToolResult(text, **facts)

    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    monkeypatch.setattr(Tool, "run", run)


async def click(pilot: Pilot[None], line: str, word: str) -> None:
    """Click a word in the line that has this text."""
    rows = text_on(pilot).splitlines()
    row = next(number for number, each in enumerate(rows) if line in each and word in each)
    await pilot.click(offset=(rows[row].rindex(word), row))


async def test_an_output_stands_below_its_block_with_how_it_ended_and_stays_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_run(monkeypatch, "one\x1b[2J\ntwo\u202e", error=True, seconds=0.25, outcome="ValueError: \x07no")
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await selected(pilot, SEVERAL)
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "two")
        shown = lines(pilot)
        at = shown.index(next(line for line in shown if line.startswith("print(1)")))
        said = "\u25be output  2 lines"
        assert shown[at + 1].startswith(said) and "\u2717 ValueError: \u2407no \u00b7 0.2 s" in shown[at + 1]
        assert [line.split()[0] for line in shown[at + 2 : at + 5]] == ["one\u241b[2J", "two", "html"]
        await wait_until(pilot, lambda: [run.block for run in runs_on_disk()] == [1])
        let_run(monkeypatch, "", outcome="no output")
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "\u2192 no output")
        assert "two" not in text_on(pilot)
        await wait_until(pilot, lambda: [run.output for run in runs_on_disk()] == [""])
        let_run(monkeypatch, "three")
        await pilot.press("exclamation_mark", "3")
        await on_screen(pilot, "three")
        assert "three" not in str(app_of(pilot).conversation.for_engine())
        id = app_of(pilot).conversation.id
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not runs(pilot))
        await app_of(pilot).conversations.open(id)
        await on_screen(pilot, "three")
        shown = lines(pilot)
        assert shown.index("three") == 2 + next(i for i, line in enumerate(shown) if line.startswith("print(3)"))
        assert runs(pilot) == [1, 3]


async def test_a_long_output_begins_closed_with_its_first_and_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    let_run(monkeypatch, "\n".join(f"row {number}" for number in range(30)))
    async with chat(FakeEngine(), (100, 70)) as pilot:
        await selected(pilot, "One:\n\n```python\nprint(1)\n```\nThe end.")
        await pilot.press("exclamation_mark")
        await on_screen(pilot, "\u25b8 output  30 lines")
        await on_screen(pilot, "row 29")
        assert "22 more lines" in text_on(pilot) and "row 7" not in text_on(pilot)
        await pilot.press("o")
        await on_screen(pilot, "row 7")
        assert "more lines" not in text_on(pilot)
        shown = lines(pilot)
        assert shown.index("The end.") == shown.index("row 29") + 1
        await click(pilot, "output  30 lines", "output")
        await on_screen(pilot, "22 more lines")
        await pilot.press("ctrl+f", *"row17", "backspace", "backspace", "space", *"17")
        await on_screen(pilot, "output")
        await pilot.press("enter")
        await on_screen(pilot, "row 17")
        await on_screen(pilot, "\u25be output")


async def test_an_output_becomes_part_of_a_message_only_when_the_person_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    let_run(monkeypatch, "four\n\nfive")
    async with chat(FakeEngine(), (120, 40)) as pilot:
        await selected(pilot, SEVERAL)
        assert "ask about output" not in text_on(pilot)
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "a ask about output")
        await pilot.press("a")
        quote = "> Output of code block 1 (done):\n>\n> four\n>\n> five\n\n"
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == quote)
        desk_of(pilot).composer.load_text("")
        await pilot.press("shift+tab", "exclamation_mark", "3")
        await wait_until(pilot, lambda: runs(pilot) == [1, 3])
        await wait_until(pilot, lambda: text_on(pilot).count("ask  copy") == 2)
        await pilot.press("a")
        await on_screen(pilot, "1 3 ask about output  a the last")
        await pilot.press("2")
        await wait_until(pilot, lambda: notified(pilot, "Code block 2 has no output."))
        await pilot.press("a", "3")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text.startswith("> Output of code block 3"))
        desk_of(pilot).composer.load_text("")
        await click(pilot, "output  3 lines", "ask")
        await wait_until(pilot, lambda: desk_of(pilot).composer.text.startswith("> Output of code block 1"))


async def test_the_words_above_a_block_do_what_its_keys_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    let_run(monkeypatch, "six")
    opened: list[Path] = []

    async def open_file(path: Path) -> None:
        opened.append(path)

    monkeypatch.setattr(written_files, "open_file", open_file)
    engine = FakeEngine()
    async with chat(engine, (100, 40)) as pilot:
        await selected(pilot, SEVERAL)
        await pilot.press("escape")
        await click(pilot, "python", "run")  # the first
        await on_screen(pilot, "six")
        assert runs(pilot) == [1]
        await click(pilot, "html", "save")
        await wait_until(pilot, lambda: (tmp_path / "code.html").exists())
        await click(pilot, "html", "open")
        await wait_until(pilot, lambda: opened)
        rows = text_on(pilot).splitlines()
        last = max(number for number, row in enumerate(rows) if "python" in row)
        await pilot.hover(offset=(rows[last].rindex("run"), last))
        await wait_until(pilot, lambda: "then !" in str(app_of(pilot).screen.get_child_by_type(Tooltip).render()))
        await pilot.click(offset=(rows[last].rindex("run"), last))  # below the output of the first
        await wait_until(pilot, lambda: runs(pilot) == [1, 3])
        view = next(iter(pilot.app.query(AnswerText)))
        app_of(pilot).selection.take_block(view.BlockWanted(view, RUN, 9))  # it was there when it was clicked
        await send(pilot, "Go on.")
        await click(pilot, "python", "run")
        await wait_until(pilot, lambda: notified(pilot, BUSY))
        engine.say(Finished("stop", STATS))
        await idle(pilot)


async def test_what_a_run_has_written_is_on_the_disk_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    monkeypatch.setattr("app.tui.parts.code_runs.CHECKPOINT_S", 0.0)
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await selected(pilot, SEVERAL)
        await pilot.press("exclamation_mark", "1")
        await wait_until(pilot, lambda: any("step 4" in run.output for run in runs_on_disk()))
        [run] = runs_on_disk()
        assert run.facts is None and "\x1b" not in run.output
        await app_of(pilot).conversations.show()  # its widgets are made anew, and it goes on there
        await on_screen(pilot, "Esc stops")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: [run.facts and run.facts.outcome for run in runs_on_disk()] == ["stopped"])


async def test_a_run_that_the_end_of_the_program_has_cut_off_says_so_and_another_block_has_no_output() -> None:
    tree = Conversation()
    answer = tree.add_answer(tree.add_prompt("Code?", None).id, TURN, [assistant(SEVERAL)])
    tree.keep_run(answer.id, BlockRun(1, digest_of("print(1)"), "so far"))
    tree.keep_run(answer.id, BlockRun(3, digest_of("print(2)"), "of another block"))
    keep(tree)
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await idle(pilot)
        await app_of(pilot).conversations.open(tree.id)
        await on_screen(pilot, "so far")
        assert "\u2717 cut off" in text_on(pilot) and "The chat ended while this ran." in text_on(pilot)
        assert "of another block" not in text_on(pilot)


async def test_a_deleted_conversation_does_not_come_back_with_what_it_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await selected(pilot, SEVERAL)
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "step 4")
        app_of(pilot).library.delete()
        await wait_until(pilot, lambda: notified(pilot, "Deleted"))
        await wait_until(pilot, lambda: Kit.made[0].tool.cancelled == 1)
        await wait_until(pilot, lambda: not app_of(pilot).selection.stop_code(), "the end of the run")
        assert stored() == []


async def test_a_conversation_can_be_left_while_code_waits_for_a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "GRACE_S", 60.0)  # the question has just come into sight
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await selected(pilot, SEVERAL)
        await pilot.press("exclamation_mark", "1")
        await on_screen(pilot, "python asks: it is not confined here")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app_of(pilot).conversation.nodes, "the new chat")
        assert "asks:" not in text_on(pilot) and Kit.made[0].tool.runs == 0 and runs_on_disk() == []


async def test_an_output_of_a_block_on_another_page_is_not_shown_on_this_one() -> None:
    text = f"```python\nprint(1)\n```\n\n{'word ' * 4000}\n\n```python\nprint(2)\n```\n\nThe end."
    tree = Conversation()
    answer = tree.add_answer(tree.add_prompt("Code?", None).id, TURN, [assistant(text)])
    tree.keep_run(answer.id, BlockRun(1, digest_of("print(1)"), "first output", CallFacts()))
    tree.keep_run(answer.id, BlockRun(2, digest_of("print(2)"), "second output", CallFacts()))
    keep(tree)
    async with chat(FakeEngine(), (100, 40)) as pilot:
        await idle(pilot)
        await app_of(pilot).conversations.open(tree.id, at=answer.id)
        await on_screen(pilot, "first output")
        assert [run.display for run in pilot.app.query(CodeRun)] == [True, False]
        await pilot.press("shift+tab", "right_square_bracket")
        await wait_until(pilot, lambda: [run.display for run in pilot.app.query(CodeRun)] == [False, True])
        await pilot.press("end")
        await on_screen(pilot, "second output")
        shown = lines(pilot)
        assert shown.index("The end.") == shown.index("second output") + 1
