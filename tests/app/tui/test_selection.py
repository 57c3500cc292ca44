"""Messages that are selected by keyboard and mouse, their keys, and typing wherever the focus is."""

from collections.abc import Callable

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widget import Widget

from app.documents.attachments import Attachment, join
from app.tui.widgets.attached import Chip
from app.tui.widgets.fold import FoldTitle
from mlx_model.events import Finished
from tests.fixtures.fakes import STATS, FakeEngine, app_of, ask, chat, desk_of, idle, send, wait_until


def burst(pilot: Pilot[None], *keys: str) -> None:
    """Keys that arrive before the app has dealt with the first of them."""
    for key in keys:
        pilot.app.post_message(events.Key(key, key if len(key) == 1 else {"space": " "}.get(key)))


def typed(text: str) -> list[str]:
    """The keys of a text."""
    return ["space" if character == " " else character for character in text]


async def test_a_burst_of_typing_reaches_the_input_whole_whatever_has_the_focus() -> None:
    engine = FakeEngine()
    async with chat(engine, (110, 30)) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello", analysis="hm")
        app, desk = app_of(pilot), desk_of(pilot)
        await send(pilot, "more")
        await send(pilot, "waits")
        desk.composer.put_back(join("", [Attachment("notes.txt", "x")]))
        await wait_until(pilot, lambda: app.query("Queued") and app.query(Chip))
        title = app.query(FoldTitle).first()
        places: list[Widget | None] = [title, app.query("Queued").first(), app.query(Chip).first(), desk.sidebar.list]
        for place in [*places, None]:
            app.set_focus(place)
            await pilot.pause()
            burst(pilot, *typed("hello there world"))
            app.post_message(events.Paste(" and"))
            burst(pilot, *typed(" more"))
            await wait_until(pilot, lambda: desk.composer.text == "hello there world and more", str(place))
            desk.composer.load_text("")
        assert title.parent and not title.parent.has_class("-open") and app.desk.queue.texts == ["waits"]
        app.set_focus(desk.sidebar.list)
        burst(pilot, *typed("/word"))
        await wait_until(pilot, lambda: desk.sidebar.searching == "word")
        engine.say(Finished("stop", STATS))
