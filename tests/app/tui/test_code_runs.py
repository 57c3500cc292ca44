"""A code block of a selected answer: its keys save it and run it, and its output stands below the answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from app.chat.commands import BUSY
from app.chat.conversation import Conversation
from app.tools import kits
from app.tools.permission import Decision
from app.tui.parts import tools as part
from app.tui.parts.code_runs import RUNS
from app.tui.widgets.code_run import CodeRun
from mlx_model.events import Finished
from mlx_model.harmony.message import assistant
from tests.fixtures.fake_kit import Kit
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
from tests.fixtures.trees import TURN, keep

SEVERAL = "One:\n\n```python\nprint(1)\n```\n\n```html\n<p>\n```\n\n```python\nprint(3)\n```\n"


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    Kit.made = []
    monkeypatch.setattr(kits, "kits_of", lambda names, conversation: [Kit() for _ in names])
    monkeypatch.setattr(part, "GRACE_S", 0.0)
    monkeypatch.chdir(tmp_path)
    yield


async def selected(pilot: Pilot[None], *texts: str) -> None:
    """A conversation with these answers, of which the last is selected."""
    await idle(pilot)
    tree = Conversation()
    above = None
    for text in texts:
        prompt = tree.add_prompt("Write code.", above)
        above = tree.add_answer(prompt.id, TURN, [assistant(text)]).id
    keep(tree)
    await app_of(pilot).conversations.open(tree.id)
    await on_screen(pilot, texts[-1].split("\n", 1)[0])
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
