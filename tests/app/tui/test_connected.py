"""The chat whose engine is on another computer: what the screen says of it, and how a connection is lost and made."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from unittest.mock import MagicMock

import pytest

from app.remote.address import read_address
from app.remote.engine import RemoteEngine
from app.settings import Settings
from app.tui.app import ChatApp
from app.tui.widgets.welcome import HOW
from mlx_model.harmony.message import user
from tests.fixtures.fakes import app_of, desk_of, idle, on_screen, send, text_on, wait_until
from tests.fixtures.running_server import running
from tests.fixtures.scripted_engine import says


async def test_a_chat_with_the_model_of_another_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tui.parts.models._unverified", looked_up := MagicMock())
    with ExitStack() as stack:
        first = stack.enter_context(running())
        port, host = first.port, f"127.0.0.1:{first.port}"
        first.engine.script = lambda request: says("Hello from there.")
        engine = RemoteEngine(read_address(first.url))
        app = ChatApp(engine=engine, server="mini.local", settings=Settings(titles="words"))
        async with app.run_test(size=(100, 30)) as pilot:
            await on_screen(pilot, "gpt-oss-20b at mini.local · ready")
            await on_screen(pilot, "What you write goes to mini.local; tools run here.")
            assert "context 0 / 4,096" in text_on(pilot) and app_of(pilot).models.names == ["gpt-oss-20b"]
            assert not looked_up.called  # what is on this computer doesn't matter
            await send(pilot, "/model")
            await on_screen(pilot, "gpt-oss-20b answers at mini.local.")
            await send(pilot, "/model gpt-oss-120b")
            await on_screen(pilot, "which its owner has chosen")
            await on_screen(pilot, "The previous model is loaded again.")
            await idle(pilot)
            await send(pilot, "Hi")
            await on_screen(pilot, "Hello from there.")
            await idle(pilot)
            await asyncio.to_thread(stack.close)
            await send(pilot, "And now?")
            await on_screen(pilot, "/restart, or a message, connects again.")
            assert f"{host} can't be reached" in text_on(pilot)
            await wait_until(pilot, lambda: desk_of(pilot).composer.text == "And now?")
            with running(port=port) as again:
                again.engine.script = lambda request: says("Back again.")
                assert again.service.line.ready is not None  # which has another model since
                again.service.line.ready = replace(again.service.line.ready, model="gpt-oss-120b")
                await pilot.press("enter")
                await on_screen(pilot, "Back again.")
                assert "gpt-oss-120b at mini.local" in text_on(pilot)
                assert again.engine.asked[0].messages[-1] == user("And now?")
                await idle(pilot)


async def test_a_server_that_was_never_there_offers_nothing_to_ask() -> None:
    app = ChatApp(engine=RemoteEngine(read_address("http://127.0.0.1:9")), server="mini.local")
    async with app.run_test(size=(100, 30)) as pilot:
        await on_screen(pilot, "What you write goes to mini.local; tools run here.")
        await on_screen(pilot, "can't be reached")
        assert HOW not in text_on(pilot)
