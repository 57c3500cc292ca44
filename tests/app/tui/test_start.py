"""The start: the styles are read once, and what is typed before all is on the screen is not lost."""

from pathlib import Path

import pytest

from app.tui.app import ChatApp
from tests.fixtures.fakes import FakeEngine, app_of, chat, desk_of, idle, wait_until

FIRST = {"screen", "sidebar", "input", "ansi", "no_color"}


async def test_the_styles_are_read_once_until_the_theme_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ChatApp(engine=FakeEngine())
    read, reparse = list[str](), app.stylesheet.reparse

    def counted() -> None:
        read.append(app.theme)
        reparse()

    monkeypatch.setattr(app.stylesheet, "reparse", counted)
    async with app.run_test() as pilot:
        await idle(pilot)
        assert read == [] and app.desk.status.styles.color.hex != "#000000"
        app.theme = "gptoss-light"
        await wait_until(pilot, lambda: read == ["gptoss-light"])


async def test_what_is_typed_before_all_is_on_the_screen_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def begin(app: ChatApp) -> None:
        app.engine.open()
        app._open_journal()

    monkeypatch.setattr(ChatApp, "_begin", begin)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        desk = desk_of(pilot)
        assert not desk.queue.is_attached and not desk.composer.attached.is_attached and not pilot.app.query("Welcome")
        assert {Path(file).stem for file, _ in app_of(pilot).stylesheet.source if file.endswith(".tcss")} == FIRST
        assert app_of(pilot).get_default_screen().has_class("-high")  # not after its styles are worked out
        await pilot.press(*"one", "enter", *"two", "enter", *"/s")
        await wait_until(
            pilot, lambda: engine.asked and desk.queue.texts == ["two"] and desk.composer.completion.display
        )
        await app_of(pilot).furnish()  # once
        assert len(pilot.app.query("Queue")) == 1
    await app_of(pilot).furnish()  # nor for a key that comes while the screen is taken away
