"""Quitting at any moment: what was asked for is done, and nothing fails because the screen is about to go."""

import asyncio

import pytest
from textual import events

from mlx_model.events import Finished, MessageStart
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    app_of,
    ask,
    chat,
    deltas,
    desk_of,
    idle,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import stored


@pytest.mark.parametrize("moments", [0, 12])
@pytest.mark.parametrize("command", ["/new", "/delete", "/undo", "/rename other"])
async def test_a_command_during_an_answer_and_quit_at_once(command: str, moments: int) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await ask(pilot, engine, "first", "one")
        if command == "/undo":
            await app.conversations.new()
            await app.journal.delete(stored()[0].id)
        engine.say(MessageStart("final"), *deltas("final", "half"))
        await send(pilot, "second")
        await wait_until(pilot, lambda: "half" in text_on(pilot))
        await pilot.press(*command, "escape")
        app.post_message(events.Key("enter", "\r"))
        while desk_of(pilot).composer.unsent:
            await asyncio.sleep(0)
        for _ in range(moments):
            await asyncio.sleep(0)
        app.post_message(events.Key("ctrl+q", None))
        await wait_until(pilot, lambda: not app.is_running)
    titles = {tree.title for tree in stored()}
    done = {"/new": {"first"}, "/delete": set[str](), "/undo": {"first", "second"}, "/rename other": {"other"}}
    assert titles == done[command]


async def test_what_is_mounted_while_the_chat_ends_is_left_out() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "first", "one")
        engine.say(MessageStart("final"), *deltas("final", "half"))
        await send(pilot, "second")
        await wait_until(pilot, lambda: "half" in text_on(pilot))
        app, desk = app_of(pilot), desk_of(pilot)
        app.exit()
        await desk.notice("late")
        await desk.queue.put("late")
        desk.composer.attached.expect("late.py")
        await app.conversations.show()
        engine.say(Finished("stop", STATS))


async def test_a_signal_that_comes_twice_saves_once_and_all() -> None:
    async with chat(FakeEngine()) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        app.desk.composer.insert("a draft")
        await asyncio.gather(app._quit(), app._quit())
    async with chat(FakeEngine()) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).composer.text == "a draft")
