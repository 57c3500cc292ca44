"""The first screen: what is offered is chosen by click and key, typing reaches the input, a message takes its place."""

import asyncio

import pytest
from textual.pilot import Pilot

from app.chat.commands import COMMANDS
from app.documents.attachments import Attachment
from app.engine.engine import EngineError
from app.engine.protocol import LoadProgress
from app.tui.parts import greeting
from app.tui.text.computer import ComputerFacts
from app.tui.text.first_run import OF_DEMO, OF_OTHERS
from app.tui.widgets.attached import Chip
from app.tui.widgets.welcome import KEY, Choice, Welcome
from tests.fixtures.fakes import (
    COMPUTER,
    FakeEngine,
    app_of,
    ask,
    chat,
    desk_of,
    idle,
    notified,
    on_screen,
    send,
    text_on,
    wait_until,
)


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The same computer everywhere, known at once unless the event is cleared."""
    gate = asyncio.Event()
    gate.set()

    async def known() -> ComputerFacts:
        await gate.wait()
        return COMPUTER

    monkeypatch.setattr(greeting, "examine", known)
    return gate


def row_of(pilot: Pilot[None], text: str) -> int:
    """The line of the screen with this text."""
    return next(y for y, line in enumerate(text_on(pilot).splitlines()) if text in line)


async def chosen(pilot: Pilot[None], engine: FakeEngine, prompt: str) -> None:
    """Wait until this was asked and the first screen is gone, and answer it."""
    await wait_until(pilot, lambda: engine.asked and engine.asked[-1][0][-1].text == prompt, prompt)
    assert not pilot.app.query_one(Welcome).display or OF_DEMO[1] not in text_on(pilot).replace(prompt, "")
    assert desk_of(pilot).composer.has_focus and desk_of(pilot).composer.text == ""
    engine.answer("done")
    await idle(pilot)


async def test_what_becomes_known_later_moves_nothing(facts: asyncio.Event) -> None:
    facts.clear()
    async with chat(FakeEngine(model="demo")) as pilot:
        await on_screen(pilot, OF_DEMO[0])
        assert "Apple M2" not in text_on(pilot) and "Get gpt-oss" not in text_on(pilot)
        before = row_of(pilot, OF_DEMO[0])
        facts.set()
        await on_screen(pilot, "Apple M2, 16 GB")
        assert row_of(pilot, OF_DEMO[0]) == before > row_of(pilot, f"{KEY} Get gpt-oss-20b, 13.8 GB")


async def test_where_the_model_takes_long_to_load_the_screen_says_why_and_what_this_computer_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greeting, "LONG_S", 0.05)
    engine = FakeEngine(model="demo", hold=True)
    engine.load_progress = [LoadProgress(0, 1, kernels=True)]
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: notified(pilot, greeting.COMPILED_ONCE))
        await on_screen(pilot, f"{KEY} Get gpt-oss-20b, 13.8 GB")
        assert "Apple M2, 16 GB" in text_on(pilot) and "preparing the kernels" in text_on(pilot)
        await pilot.press("f6")
        await on_screen(pilot, "Not now")
        await pilot.press("escape")
        engine.release()
        await idle(pilot)


async def test_a_suggestion_is_asked_by_click_and_by_key() -> None:
    engine = FakeEngine(model="demo")
    async with chat(engine) as pilot:
        await idle(pilot)
        await pilot.click(list(pilot.app.query(Choice))[1])
        await chosen(pilot, engine, OF_DEMO[0])
        await pilot.press("ctrl+n")
        await on_screen(pilot, OF_DEMO[1])
        await pilot.press("shift+tab", "down", "enter")
        await chosen(pilot, engine, OF_DEMO[1])
        await pilot.press("up")
        assert desk_of(pilot).composer.text == OF_DEMO[1]  # it can be recalled like what was typed


async def test_typing_goes_to_the_input_and_arrows_come_back_to_it() -> None:
    engine = FakeEngine(model="demo")
    async with chat(engine) as pilot:
        await idle(pilot)
        composer = desk_of(pilot).composer
        await pilot.press("shift+tab", *"1 + 1")
        assert composer.text == "1 + 1" and composer.has_focus and not engine.asked
        composer.clear_prompt()
        await pilot.press("shift+tab", *["down"] * len(OF_DEMO))
        assert composer.has_focus
        composer.attached.add(Attachment("notes.txt", "one\n"))  # a file is nearer
        await pilot.press("shift+tab")
        assert isinstance(pilot.app.focused, Chip)
        await pilot.press("shift+tab")
        assert isinstance(pilot.app.focused, Choice) and pilot.app.focused.text == OF_DEMO[0]
        await pilot.press("up")
        assert isinstance(pilot.app.focused, Choice) and not pilot.app.focused.is_suggestion
        await pilot.press("f1")
        await on_screen(pilot, "The first screen (focused)")
        assert KEY in {command.shown_key for command in COMMANDS if command.action == "download_step"}


async def test_it_comes_back_when_nothing_has_come_of_the_first_message() -> None:
    engine = FakeEngine(model="demo")
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(EngineError("it broke"))
        await send(pilot, "hi")
        await on_screen(pilot, "It broke")
        await on_screen(pilot, OF_DEMO[0])
        assert desk_of(pilot).composer.text == "hi"
        await ask(pilot, engine, "", "hello")
        assert OF_DEMO[0] not in text_on(pilot)


async def test_another_model_has_suggestions_of_its_own() -> None:
    engine = FakeEngine()
    async with chat(engine, (100, 30)) as pilot:
        await on_screen(pilot, OF_OTHERS[0])
        assert KEY not in text_on(pilot) and "demo" not in text_on(pilot)
        await send(pilot, "/model demo")
        await on_screen(pilot, OF_DEMO[0])
        await on_screen(pilot, f"{KEY} Get gpt-oss-20b")


async def test_the_name_is_as_large_as_the_window_allows_and_a_line_is_shortened_not_cut() -> None:
    async with chat(FakeEngine(model="demo"), (80, 24)) as pilot:
        await on_screen(pilot, "up to 12k context")
        assert "\u250f\u2501\u2578" in text_on(pilot) and "gptoss-chat" not in text_on(pilot)
        for width, height, line in (
            (60, 20, "  16 GB: gpt-oss-20b fits, 4-bit, up to 12k context"),
            (30, 24, "16 GB: gpt-oss-20b fits"),
            (80, 21, "12k"),
        ):
            await pilot.resize_terminal(width, height)
            await wait_until(pilot, lambda: "gptoss-chat" in text_on(pilot) and line in text_on(pilot), line)  # noqa: B023
        await pilot.resize_terminal(120, 48)
        await on_screen(pilot, "\u250f\u2501\u2578")
        assert row_of(pilot, "\u250f\u2501\u2578") > 8  # nearer to the middle


async def test_ctrl_l_draws_the_whole_screen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what hasn't changed: another program may have written over it."""
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        drawn: list[object] = []
        monkeypatch.setattr(app_of(pilot), "_display", lambda screen, what: drawn.append(what))
        for over in ((), ("f1",)):
            await pilot.press(*over)
            await pilot.pause()
            drawn.clear()
            await pilot.press("ctrl+l")
            await wait_until(pilot, lambda: any("LayoutUpdate" in type(what).__name__ for what in drawn), "all of it")
