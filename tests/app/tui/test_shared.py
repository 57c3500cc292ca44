"""A chat whose model other programs use too: where they find it, a message that waits, how it starts again."""

import pytest

from app.settings import Settings
from app.tui.app import ChatApp
from app.tui.parts import engine as keeper
from app.tui.parts.answering import READING
from mlx_model.events import PrefillProgress, Queued
from tests.fixtures.fakes import FakeEngine, idle, on_screen, send, text_on, wait_until

URL = "http://127.0.0.1:8080/v1"
SENTENCE = f"Other programs find the model at {URL}"


async def test_a_chat_that_shares_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    app = ChatApp(engine=engine, shared_at=URL, settings=Settings(titles="words"))
    async with app.run_test(size=(100, 30)) as pilot:
        await on_screen(pilot, SENTENCE)
        await on_screen(pilot, "gpt-oss-20b at :8080 · ready")
        await pilot.press("f1", "end")
        await on_screen(pilot, f"{SENTENCE}.")
        await pilot.press("escape")
        await send(pilot, "Hi")
        engine.say(Queued(2))
        await on_screen(pilot, "2 requests of other programs come first")
        assert "waiting in line" in text_on(pilot)
        engine.say(PrefillProgress(3, 3))
        await on_screen(pilot, READING)
        assert "come first" not in text_on(pilot)
        engine.answer("Hello.")
        await on_screen(pilot, "Hello.")
        await idle(pilot)

        engine.die(asking=False)  # soon after it was ready, as it might again and again
        await on_screen(pilot, "/restart, or a message, starts it again")
        assert engine.loads == 1
        await send(pilot, "/restart")
        await wait_until(pilot, lambda: engine.loads == 2 and engine.alive)
        await idle(pilot)
        monkeypatch.setattr(keeper, "STABLE_S", 0.0)
        engine.die(asking=False)
        await on_screen(pilot, "It is started again, since other programs use it")
        await wait_until(pilot, lambda: engine.loads == 3)
        await on_screen(pilot, "gpt-oss-20b at :8080 · ready")
