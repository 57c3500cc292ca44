"""Tools on the screen: switched on for a conversation, a call asks for the person's word, runs, and is kept."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from app import settings
from app.chat.commands import BUSY, QUESTION_WAITS
from app.chat.titles import PROMPT
from app.tools import kits
from app.tools.permission import Decision
from app.tui.app import ChatApp
from app.tui.parts import tools as part
from app.tui.widgets.approval import Choice
from app.tui.widgets.calls import CallTitle, CallView
from app.tui.widgets.steps import StepsTitle
from mlx_model.errors import GptossError
from mlx_model.events import Finished, MessageEnd
from mlx_model.tools.loop import CANCELLED
from tests.fixtures.fake_kit import CALL, CODE, Kit, Tool, answer, call_python
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    chat,
    desk_of,
    idle,
    on_screen,
    opened,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import keep, stored, titled


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    Kit.made = []
    monkeypatch.setattr(kits, "kits_of", lambda names, conversation: [Kit() for _ in names])
    monkeypatch.setattr(part, "GRACE_S", 0.0)
    yield


@pytest.fixture
def confined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kit, "default", Decision.ALLOW)


async def asked(pilot: Pilot[None], engine: FakeEngine, prompt: str = "How much?") -> Kit:
    """A prompt is asked, python switched on, and the model calls it."""
    await idle(pilot)
    await send(pilot, "/tools python")
    await on_screen(pilot, "In a context of 4,096")
    await on_screen(pilot, "tools: python")
    call_python(engine)
    await send(pilot, prompt)
    await on_screen(pilot, "python asks: it is not confined here")
    return Kit.made[-1]


async def test_a_call_waits_for_the_person_runs_and_is_kept() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        kit = await asked(pilot, engine)
        await on_screen(pilot, "waiting for you")
        assert "F7 once   F8 this chat   F9 always   Esc no" in text_on(pilot)
        await wait_until(pilot, lambda: text_on(pilot).splitlines()[-1].startswith("  Esc no  "))
        await pilot.press("y", "e", "s", "1", "space")  # what typing can produce answers nothing
        assert (kit.tool.runs, desk_of(pilot).composer.text) == (0, "yes1 ")
        assert [message.text for message in stored()[0].path[-1].messages] == [CODE]
        await pilot.press("f7")
        await on_screen(pilot, "running a tool")
        await on_screen(pilot, "0 s \u00b7 Esc stops")
        await on_screen(pilot, "step 4")
        assert "step 2" in text_on(pilot) and "step 1" not in text_on(pilot) and "asks:" not in text_on(pilot)
        answer(engine)
        kit.tool.go.set()
        await on_screen(pilot, "It is 42.")
        await idle(pilot)
        assert "\u2192 a number \u00b7 2.5 s" in text_on(pilot) and "step 4" not in text_on(pilot)
        assert engine.asked[-1][2] == "Plots are shown."
        # Call and result leave the prompt, what declares the tool stays; the answer is estimated.
        status = desk_of(pilot).status
        assert status.estimated and STATS.prompt_tokens < status.used < STATS.prompt_tokens + 10
        assert desk_of(pilot).composer.text == "yes1 "
    (call,) = stored()[0].path[-1].facts.calls  # type: ignore[union-attr]
    assert (call.seconds, call.allowed, call.outcome, call.files) == (2.5, "you, once", "a number", ("/data/plot.png",))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "How much?")
        await on_screen(pilot, "\u2192 a number \u00b7 2.5 s")
        await pilot.click(CallTitle)
        await on_screen(pilot, "Allowed by you, once")
        assert "tools: python" in text_on(pilot)  # is kept with the conversation
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: "tools: python" not in text_on(pilot))


async def test_a_key_just_after_the_question_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "GRACE_S", 1000.0)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        kit = await asked(pilot, engine)
        await pilot.press("f7", "f8", "f9", "escape")
        await pilot.click(Choice)
        await pilot.pause()
        assert "python asks:" in text_on(pilot) and kit.tool.runs == 0
        answer(engine)
        await send(pilot, "/no try it without code")
        await on_screen(pilot, "\u2717 not allowed")
        await idle(pilot)
        assert engine.asked[-1][0][-1].text == "The user declined this call: try it without code"
        await send(pilot, "/no")
        await on_screen(pilot, part.NOT_ASKED)


async def test_what_has_to_wait_says_what_esc_does_now() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        kit = await asked(pilot, engine)
        await send(pilot, "/tools browser")
        await on_screen(pilot, QUESTION_WAITS)
        assert BUSY not in text_on(pilot)
        await pilot.press("f7")
        await on_screen(pilot, "Esc stops")
        await wait_until(pilot, lambda: QUESTION_WAITS not in text_on(pilot))  # is true no longer
        await send(pilot, "/tools browser")
        await on_screen(pilot, BUSY)
        answer(engine)
        kit.tool.go.set()
        await idle(pilot)


async def test_esc_refuses_a_call_and_stops_one_that_runs() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        kit = await asked(pilot, engine)
        call_python(engine)
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        await on_screen(pilot, "python asks:")  # the model calls again
        assert engine.asked[-1][0][-1].text == "The user declined this call."
        await pilot.press("f8")
        await on_screen(pilot, "Esc stops")
        await pilot.press("escape")
        await idle(pilot)
        assert (kit.tool.runs, kit.tool.cancelled) == (1, 1)
        assert "^G continues the answer" in text_on(pilot)
        call_python(engine)
        kit.tool.go.set()
        answer(engine, "Done.")
        await pilot.press("ctrl+g")  # allowed in this conversation: not asked again
        await on_screen(pilot, "Done.")
        assert kit.tool.runs == 2 and not settings.load().permissions


async def test_always_is_a_rule_of_the_settings_and_holds_in_other_conversations() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        first = await asked(pilot, engine)
        answer(engine)
        first.tool.go.set()
        await pilot.press("f9")
        await on_screen(pilot, "It is 42.")
        await wait_until(pilot, lambda: settings.load().permissions == {"python": "allow"})
        await idle(pilot)
        await pilot.press("ctrl+n")
        await send(pilot, "/tools python")
        call_python(engine)
        await send(pilot, "Again?")
        await on_screen(pilot, "Esc stops")
        assert (first.closed, len(Kit.made)) == (1, 2)


async def test_what_is_asked_each_time_and_what_is_too_long_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kit, "always", False)
    monkeypatch.setattr(Kit, "shown", "\u202e\x1b[31m" + "a\n" * 30 + "last")
    engine = FakeEngine()
    async with chat(engine, size=(80, 24)) as pilot:
        kit = await asked(pilot, engine)
        await on_screen(pilot, "PgDn 22 more lines")
        assert "\\u202e\\u001b[31m" in text_on(pilot) and "F7 once   Esc no" in text_on(pilot)
        assert "Ask anything" in text_on(pilot)  # what it is answered in is still there
        for _ in range(8):
            await pilot.press("pagedown")
        await on_screen(pilot, "last")
        await on_screen(pilot, "PgUp to its beginning")
        monkeypatch.setattr(Kit, "shown", "a" * (part.MOST_SHOWN + 1))
        await pilot.press("f9")
        await on_screen(pilot, part.ONCE_ONLY)
        call_python(engine)
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(engine.asked) == 3)
        assert engine.asked[-1][0][-1].text == f"The user declined this call: {part.TOO_LONG}"
        assert "F7 once" not in text_on(pilot) and kit.tool.runs == 0


@pytest.mark.usefixtures("confined")
async def test_quitting_ends_a_call_that_runs_and_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "/tools python")
        call_python(engine)
        await send(pilot, "How much?")
        await on_screen(pilot, "Esc stops")
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: Kit.made[0].closed == 1)
    assert Kit.made[0].tool.cancelled == 1
    monkeypatch.setattr(Kit, "default", Decision.ASK)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        kit = await asked(pilot, engine, "And now?")
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: kit.closed == 1)
    assert kit.tool.runs == 0
    assert [message.text for message in stored()[0].path[-1].messages] == [CODE]


async def test_what_can_be_switched_on_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kit, "trouble", "its package is missing; pip install 'x' brings it")
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        for argument, text in (
            ("off", "The model may call no tools here."),
            ("nmap", "There is no tool 'nmap'; there is: python, "),
            ("python", "The model may call python here; /tools off ends that."),
        ):
            await send(pilot, f"/tools {argument}".strip())
            await on_screen(pilot, text)
        for prompt in ("Hello", "Again"):
            answer(engine, f"{prompt} to you.")
            await send(pilot, prompt)
            await on_screen(pilot, f"{prompt} to you.")
            await idle(pilot)
        notice = "Python can't be used: its package is missing; pip install 'x' brings it."
        assert text_on(pilot).count(notice) == 1
        await send(pilot, "/tools off")
        await on_screen(pilot, "The model may call no tools here.")
        assert isinstance(pilot.app, ChatApp)
        assert pilot.app.tools.names_of(pilot.app.conversation.id) == ()


@pytest.mark.usefixtures("confined")
async def test_many_calls_are_one_line_until_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tool, "files", ())
    engine = FakeEngine()
    async with chat(engine, size=(80, 40)) as pilot:
        await idle(pilot)
        await send(pilot, "/tools python")
        await on_screen(pilot, "tools: python")
        for number in range(5):
            engine.think(f"thought {number}")
            call = replace(CALL, text=f"step({number})")
            engine.say(MessageEnd(call), Finished("tool_call", STATS))
        await send(pilot, "How much?")
        await wait_until(pilot, lambda: Kit.made)
        kit = Kit.made[0]
        kit.tool.go.set()
        await wait_until(pilot, lambda: kit.tool.runs == 5 and engine.waits)
        await on_screen(pilot, "2 calls: 2 python \u00b7 5 s")
        assert [n for n in range(5) if f"step({n})" in text_on(pilot)] == [2, 3, 4]
        answer(engine)
        await idle(pilot)
        await on_screen(pilot, "5 calls: 5 python \u00b7 12 s")
        assert "step(" not in text_on(pilot) and "thought for" in text_on(pilot)
        await pilot.press("shift+tab", "o")
        await on_screen(pilot, "step(0)")
        assert all(view.display and view.open for view in pilot.app.query(CallView))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "How much?")
        await on_screen(pilot, "\u25b8 5 calls: 5 python")
        assert "step(" not in text_on(pilot)
        await pilot.click(StepsTitle)
        await on_screen(pilot, "step(4)")
        await pilot.click(StepsTitle)
        await wait_until(pilot, lambda: "step(4)" not in text_on(pilot))


async def test_the_settings_say_how_many_calls_a_turn_has(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ChatApp(engine=FakeEngine(), settings=settings.Settings(most_calls=3))
    monkeypatch.setattr(app.tools, "names_of", lambda conversation: ("python",))
    tools = await app.tools.in_turn(app.conversation, asyncio.Event())
    assert tools is not None and tools.most_calls == 3


class FilesKit(Kit):
    """Has one patch to undo, of a file that may have changed since."""

    has_changed, is_damaged = True, False

    def undo(self) -> str:
        if FilesKit.is_damaged:
            raise GptossError("a.txt has changed since; nothing was put back")
        FilesKit.has_changed = False
        return "The last patch is undone: a.txt."


async def test_undo_takes_back_the_last_patch_then_the_last_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kits, "kits_of", lambda names, conversation: [FilesKit()])
    keep(titled("Deleted soon"))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Deleted soon")
        await send(pilot, "/delete")
        await on_screen(pilot, "/undo")
        await send(pilot, "/tools python")
        await on_screen(pilot, "tools: python")
        FilesKit.is_damaged = True
        await send(pilot, "/undo")
        await on_screen(pilot, "a.txt has changed since; nothing was put back.")
        FilesKit.is_damaged = False
        await send(pilot, "/undo")
        await on_screen(pilot, "The last patch is undone: a.txt.")
        assert app_of(pilot).conversation.title != "Deleted soon"
        await send(pilot, "/undo")
        await wait_until(pilot, lambda: app_of(pilot).conversation.title == "Deleted soon")


@pytest.mark.usefixtures("confined")
async def test_a_conversation_is_named_with_its_tools_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    async with chat(engine, titles="model") as pilot:
        await idle(pilot)
        await send(pilot, "/tools python")
        await on_screen(pilot, "tools: python")
        answer(engine)
        await send(pilot, "How much?")
        await wait_until(pilot, lambda: len(engine.asked) == 2)
        assert engine.asked[1][0][-1].text == PROMPT
        assert engine.asked[0][2] == engine.asked[1][2] == "Plots are shown."
        assert engine.tools == [("python",), ("python",)]
        answer(engine, "Six times seven")
        await wait_until(pilot, lambda: app_of(pilot).conversation.title == "Six times seven")


async def test_esc_while_a_tool_gets_ready_takes_the_message_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare(kit: Kit) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Kit, "prepare", prepare)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "/tools python")
        await on_screen(pilot, "tools: python")
        await send(pilot, "How much?")
        await on_screen(pilot, "getting the tools ready")
        await pilot.press("escape")
        await idle(pilot)
        assert engine.asked == [] and desk_of(pilot).composer.text == "How much?"


async def test_switching_tools_off_in_an_answer_ends_its_call_at_once(confined: None) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await send(pilot, "/tools python")
        await on_screen(pilot, "tools: python")
        call_python(engine)
        await send(pilot, "How much?")
        await on_screen(pilot, "Esc stops")
        await send(pilot, "/tools browser")
        await on_screen(pilot, BUSY)
        answer(engine, "About 42.")
        await send(pilot, "/tools off")
        await on_screen(pilot, "About 42.")
        await idle(pilot)
        assert Kit.made[-1].tool.cancelled == 1 and engine.asked[-1][0][-1].text == CANCELLED
        assert part.NOTHING_ON in text_on(pilot) and "tools: python" not in text_on(pilot)
