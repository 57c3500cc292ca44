"""Short messages: one at a time, below the input or in a few rows above it, never over what is read or typed."""

import pytest

from app.tui.parts.hints import CUT_OFF
from app.tui.widgets import toast
from mlx_model.events import Finished, MessageStart, TextDelta
from tests.fixtures.fakes import STATS, FakeEngine, app_of, chat, desk_of, idle, send, text_on, wait_until

LONG = "No conversation was imported: " + "the file holds something else, " * 5 + "and so on."


async def test_a_message_has_a_place_of_its_own_and_one_replaces_another(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(toast, "monotonic", lambda: clock[0])
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        desk, widget = desk_of(pilot), desk_of(pilot).toast
        hint = desk.effort_switch.query_one("#hint")
        engine.say(MessageStart("final"), TextDelta("final", "One, two"), Finished("length", STATS))
        await send(pilot, "Count.")
        await wait_until(pilot, lambda: CUT_OFF in text_on(pilot))

        async def shows(text: str) -> list[str]:
            await wait_until(pilot, lambda: text in text_on(pilot), text)
            return text_on(pilot).splitlines()

        before = await shows(CUT_OFF)
        # In the place of the hint, and nothing else changes.
        desk.warn("That can't be done.")
        lines = await shows("That can't be done.")
        assert lines[:-2] == before[:-2] and "effort" in lines[-2] and CUT_OFF not in lines[-2]
        assert hint.has_class("-warning")
        # A newer one replaces it; widgets have no other place.
        desk.composer.notify("Copied", markup=False)
        lines = await shows("Copied")
        assert "can't be done" not in "\n".join(lines) and not hint.has_class("-warning")
        # A long one: rows above the input, over the end of the conversation, which doesn't move.
        desk.notify(LONG, severity="error")
        lines = await shows("and so on.")
        assert "".join(lines[-9:-6]).split() == LONG.split() or "".join(lines[-8:-5]).split() == LONG.split()
        assert lines[:-8] == before[:-8] and lines[-5:-2] == before[-5:-2]
        assert CUT_OFF in lines[-2] and widget.has_class("-error")
        # In another width it has other rows.
        await pilot.resize_terminal(40, 24)
        await wait_until(pilot, lambda: str(widget.content).endswith("\u2026"))
        assert widget.size.height == toast.MAX_ROWS
        await pilot.resize_terminal(300, 24)
        await wait_until(pilot, lambda: LONG in " ".join(text_on(pilot).split()))
        # An error stays until a key; one that was typed before it could be read doesn't count.
        await pilot.press("x")
        assert widget.text == LONG
        clock[0] += toast.ERROR_S
        await pilot.press("y")
        await shows(CUT_OFF)
        assert widget.text == "" and desk.composer.text == "xy"


async def test_the_end_of_a_long_message_is_in_sight_whatever_its_length() -> None:
    async with chat(FakeEngine(), (80, 24)) as pilot:
        await idle(pilot)
        widget = desk_of(pilot).toast
        for width in range(73, 79):
            rows = ["a" * (width - 20) + " " + digit * 19 for digit in "123"]
            desk_of(pilot).notify(" ".join(rows))
            await wait_until(pilot, lambda: str(widget.content)[-9:] in text_on(pilot))


async def test_no_message_lies_over_help_or_settings() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        await pilot.press("f1")
        await wait_until(pilot, lambda: len(app_of(pilot).screen_stack) > 1)
        await pilot.pause()
        before = text_on(pilot)
        desk_of(pilot).notify(LONG, severity="error")
        await pilot.pause()
        assert text_on(pilot) == before and not app_of(pilot).screen.query("Toast")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "and so on." in text_on(pilot))


async def test_a_message_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toast, "INFORMATION_S", 0.01)
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        desk_of(pilot).notify("Copied")
        await wait_until(pilot, lambda: not desk_of(pilot).toast.text)
        await wait_until(pilot, lambda: "Copied" not in text_on(pilot))
