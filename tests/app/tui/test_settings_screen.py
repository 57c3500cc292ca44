"""The settings screen, and the commands that change what it shows."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, TextArea

from app.settings import Settings, load
from app.tui.screens.settings import SettingsScreen
from app.tui.theme import ANSI, DARK, LIGHT
from mlx_model.events import MessageStart
from mlx_model.harmony.message import Effort
from mlx_model.options import Options
from tests.fixtures.fakes import (
    FakeEngine,
    app_of,
    ask,
    chat,
    deltas,
    desk_of,
    idle,
    notifications,
    on_screen,
    send,
    text_on,
    wait_until,
)


def field(pilot: Pilot[None], name: str) -> Input:
    return pilot.app.screen.query_one(f"#{name}", Input)


async def opened(pilot: Pilot[None]) -> None:
    await pilot.press("f3")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, SettingsScreen) and pilot.app.screen.query("#cancel"))
    await pilot.pause()


async def test_settings_are_checked_hold_at_once_and_at_the_next_start() -> None:
    engine = FakeEngine()
    async with chat(engine, options=Options(top_k=7), titles="model") as pilot:
        app = app_of(pilot)
        await idle(pilot)
        await opened(pilot)
        assert field(pilot, "temperature").value == "1.0" and field(pilot, "top_k").value == "7"
        field(pilot, "temperature").value = "hot"
        await pilot.press("ctrl+s")
        assert "Temperature is 'hot'; it must be a number." in text_on(pilot)
        assert field(pilot, "temperature").has_focus
        for name, value in (("temperature", "0.5"), ("top_p", "0,9"), ("seed", "12")):
            field(pilot, name).value = value
        await pilot.press("enter")
        assert "Top-p is '0,9'; it must be a number." in text_on(pilot)
        field(pilot, "top_p").value = ""
        pilot.app.screen.query_one("#effort", Select).value = "high"
        pilot.app.screen.query_one("#analysis", Select).value = "shown"
        pilot.app.screen.query_one("#notify", Select).value = "off"
        pilot.app.screen.query_one("#titles", Select).value = "words"
        pilot.app.screen.query_one("#theme", Select).value = "ansi"
        pilot.app.screen.query_one("#instructions", TextArea).text = "Be [b]brief[/b]."
        field(pilot, "save_as").value = "[b]short"
        await pilot.click("#save")
        await pilot.pause()
        assert (
            app.theme == ANSI.name
            and app.desk.effort_switch.effort is Effort.HIGH
            and "preset [b]short" in text_on(pilot)
        )
        await ask(pilot, engine, "hi", "hello", analysis="an open thought")
        assert "an open thought" in text_on(pilot)
        _, options, instructions = engine.asked[0]
        assert options == Options(effort=Effort.HIGH, temperature=0.5, seed=12, top_k=7)
        assert instructions == "Be [b]brief[/b]."
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app.conversation.nodes)
        await ask(pilot, engine, "hi", "hello")
        assert engine.asked[1][2] is None  # those of a conversation are its own
    saved = load()
    assert saved.warnings == () and (saved.theme, saved.analysis, saved.notify) == ("ansi", "shown", "off")
    assert saved.titles == "words"
    assert saved.options == {"effort": Effort.HIGH, "temperature": 0.5, "seed": 12}  # not what the command line said
    async with chat(engine, settings=saved) as pilot:
        app = app_of(pilot)
        await idle(pilot)
        assert app.theme == ANSI.name and app.preferences.analysis == "shown"
        assert app.desk.attention.notify == "off"
        await opened(pilot)
        pilot.app.screen.query_one("#preset", Select).value = "[b]short"
        await wait_until(
            pilot, lambda: pilot.app.screen.query_one("#instructions", TextArea).text == "Be [b]brief[/b]."
        )
        field(pilot, "seed").value = "9"
        await pilot.press("escape")
        assert app.preferences.instructions_of(app.conversation.id) is None and app.preferences.options == Options()


async def test_commands_for_theme_analysis_presets_and_instructions() -> None:
    engine = FakeEngine()
    settings = Settings(presets={"brief": "Answer briefly.", "pirate": "Arr."})
    async with chat(engine, (140, 30), settings=settings, instructions="from the command line") as pilot:
        app = app_of(pilot)
        await idle(pilot)
        assert app.theme == DARK.name and "with instructions" in text_on(pilot)
        await send(pilot, "/theme light")
        await wait_until(pilot, lambda: app.theme == LIGHT.name and load().theme == "light")
        app.theme = "nord"  # as the palette does
        await wait_until(pilot, lambda: load().theme == "nord")
        for command, message in (
            ("/theme none", "There is no theme none"),
            ("/thinking none", "The analysis can be shown, collapsed or hidden."),
            ("/preset", "Presets: brief, pirate."),
            ("/preset none", "There is no preset none. Presets: brief, pirate."),
            ("/preset brief", 'The next answers follow the preset "brief".'),
        ):
            await send(pilot, command)
            await on_screen(pilot, message)
        desk_of(pilot).clear_notifications()
        await on_screen(pilot, "preset brief")
        await ask(pilot, engine, "hi", "hello")
        await send(pilot, "/instructions Sing.")
        await wait_until(pilot, lambda: app.preferences.instructions_of(app.conversation.id) == "Sing.")
        await ask(pilot, engine, "hi", "hello")
        await send(pilot, "/new")
        await wait_until(pilot, lambda: not app.conversation.nodes)
        await ask(pilot, engine, "hi", "hello")
        assert [asked[2] for asked in engine.asked] == ["Answer briefly.", "Sing.", "from the command line"]
        await send(pilot, "/instructions")
        await wait_until(pilot, lambda: isinstance(app.screen, SettingsScreen))
        await wait_until(pilot, lambda: app.screen.query_one("#instructions").has_focus)
        await pilot.press("escape")
        engine.say(MessageStart("analysis"), *deltas("analysis", "never to be seen"))
        await send(pilot, "/thinking hidden")
        await wait_until(pilot, lambda: load().analysis == "hidden")
        await send(pilot, "why")
        await wait_until(pilot, lambda: "thinking for" in text_on(pilot))
        assert "never" not in text_on(pilot)


async def test_what_is_wrong_with_the_settings_is_said_and_what_cannot_be_saved_holds(home: Path) -> None:
    home.mkdir()
    (home / "settings.toml").write_text("theme = \n")
    async with chat(FakeEngine(), (99, 30), settings=load()) as pilot:
        app = app_of(pilot)
        await wait_until(pilot, lambda: "line 1: Invalid value" in " ".join(text_on(pilot).split()))
        await send(pilot, "/theme light")
        await wait_until(pilot, lambda: "the file is left as it is" in notifications(pilot))
        assert app.theme == LIGHT.name and (home / "settings.toml").read_text() == "theme = \n"
    async with chat(FakeEngine(), (140, 30), settings=Settings(theme="of a newer version")) as pilot:
        await wait_until(pilot, lambda: 'There is no theme "of a newer version"' in text_on(pilot))
        assert app_of(pilot).theme == DARK.name


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_settings_fit_on_the_screen(size: tuple[int, int]) -> None:
    async with chat(FakeEngine(), size) as pilot:
        await idle(pilot)
        await opened(pilot)
        screen = text_on(pilot)
        for text in ("Effort", "Max tokens", "Instructions of this conversation", "Save as preset", "Save", "Cancel"):
            assert text in screen
        await pilot.press("enter", "down", "enter")  # the first field, with keys alone
        assert pilot.app.screen.query_one("#effort", Select).value == "high"
        await pilot.press("enter", "escape")  # closes the list of choices only
        assert isinstance(pilot.app.screen, SettingsScreen)
