"""The palette: what it lists, in which order, how a row fits, and that what is chosen runs."""

import re

import pytest

from app.chat.commands import COMMANDS, GROUPS, Command
from app.tui.screens.palette import PaletteList, PaletteScreen
from app.tui.text.palette_rows import groups, line, matching
from mlx_model.harmony.message import Effort
from tests.fixtures.fakes import FakeEngine, app_of, chat, idle, notified, send, text_on, wait_until


def values(command: Command) -> tuple[str, ...]:
    return ("brief", "Long one") if command.action == "preset" else command.values


def found(typed: str) -> list[str]:
    """The names that the palette lists for what is typed."""
    return [row.name for row in matching(typed, lambda _: False, values)]


def test_the_palette_lists_every_command_but_itself_once_in_its_group() -> None:
    listed = dict(groups(lambda command: command.waits))
    assert list(listed) == list(GROUPS)
    rows = [row for each in listed.values() for row in each]
    assert [row.action for row in rows] == [c.action for c in COMMANDS if c.action != "command_palette"]
    assert len({row.name for row in rows}) == len(rows)
    assert all((row.help, row.key, row.waits) in {(c.help, c.shown_key, c.waits) for c in COMMANDS} for row in rows)


@pytest.mark.parametrize(
    ("typed", "first", "others"),
    [
        ("eff", ["effort"], []),  # its values are not typed for
        ("effort", ["effort", "effort low", "effort medium", "effort high"], []),
        ("Effort  H", ["effort high"], []),
        ("high", ["effort high", "effort"], []),
        ("code", ["copy code", "stop", "copy"], []),
        ("exp md", ["export md"], []),
        ("long", ["preset Long one"], []),
        ("rst", ["restart"], []),
        ("versions", [], []),
        ("previous", ["again"], []),  # a word of what it does
        ("conversation", [], ["find", "chats", "rename", "delete", "export", "import", "instructions"]),
        ("clear", ["new"], []),  # as other programs call it
        ("exi", ["quit"], []),
        ("zzzz", [], []),
        ("e" * 200, [], []),
    ],
)
def test_what_the_palette_finds(typed: str, first: list[str], others: list[str]) -> None:
    names = found(typed)
    assert names[: len(first)] == first and set(others) <= set(names)
    assert bool(names) == bool(first or others)
    if typed in ("eff", "exp md"):
        assert names == first


@pytest.mark.parametrize("width", [70, 34, 16, 4, 0])
def test_a_row_of_the_palette_keeps_its_key_at_the_right(width: int) -> None:
    (row,) = matching("regen", lambda _: False, values)
    text = line(row, width, 12)
    assert text.plain.startswith("again") and text.plain.endswith("^R")
    assert text.cell_length == max(width, len("again") + 7 + 2 + 1 + 2)
    assert ("regenerate" in text.plain) == (width >= 34)
    (row,) = matching("regen", lambda command: command.waits, values)
    assert line(row, 70, 12).plain.endswith("  (after the answer)")


async def test_the_palette_shows_a_line_for_each_command_and_runs_what_is_chosen() -> None:
    async with chat(FakeEngine(), (100, 30)) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await pilot.press("ctrl+p")
        await wait_until(pilot, lambda: isinstance(app.screen, PaletteScreen) and "Answers" in text_on(pilot))
        box = app.screen.query_one("#palette").region
        assert box.width == 76 and box.x == 12 and box.height == 30
        rows = [row[box.x + 2 : box.right - 3] for row in text_on(pilot).splitlines()]
        lines = [row for row in rows for command in COMMANDS if command.help in row]
        assert len(lines) >= 20 and any(row.startswith("effort ") and row.endswith("  ^E") for row in lines)
        await pilot.press("f1")
        await wait_until(pilot, lambda: "The commands (focused)" in text_on(pilot))
        await pilot.press("escape", "down", "up", "pagedown", *"xyz")
        await wait_until(pilot, lambda: "No command fits." in text_on(pilot))
        await pilot.press("enter")  # does nothing
        await pilot.press(*["backspace"] * 3, "/")
        await wait_until(pilot, lambda: "Answers" in text_on(pilot))  # nothing is looked for yet
        await pilot.press(*"thinking s", "enter")
        await wait_until(pilot, lambda: app.preferences.analysis == "shown" and len(app.screen_stack) == 1)
        await pilot.press("ctrl+p", "down", "down", "enter")  # past effort and thinking
        await wait_until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.desk.effort_switch.effort is Effort.MEDIUM and app.preferences.analysis == "shown"
        await pilot.press("ctrl+p", *"effort", "down", "down", "down")
        await pilot.pause()
        await pilot.click(PaletteList, offset=(3, 1))  # "effort low"
        await wait_until(pilot, lambda: app.desk.effort_switch.effort is Effort.LOW)
        await send(pilot, "/theme")
        await wait_until(pilot, lambda: "theme dark" in text_on(pilot) and "theme nord" in text_on(pilot))
        assert re.findall(r"theme (\w+) .*in use", text_on(pilot)) == ["dark"]
        await pilot.press(*"light", "enter")
        await wait_until(pilot, lambda: app.theme == "gptoss-light" and notified(pilot, "The theme is light."))
        await pilot.press("ctrl+p", "ctrl+p")
        await wait_until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.desk.composer.has_focus and app.desk.composer.text == ""
