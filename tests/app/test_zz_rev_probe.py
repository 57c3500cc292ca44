from app.store.database import default_path
from app.store.store import Store
from mlx_model.events import *
from tests.app.fakes import *
from tests.app.trees import stored
from app.tui.widgets.messages import AnswerView

async def test_stale():
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        for n in range(32):
            await ask(pilot, engine, f"question {n}", f"answer {n}")
        app = app_of(pilot)
        t = app.transcript
        assert t._window.start > 0
        for _ in range(8):
            t.extend(-1)
            await pilot.pause(0.1)
        assert t._window.start == 0
        assert app.query(AnswerView).first().messages

async def test_lost_new():
    engine = FakeEngine(hold=True)
    async with chat(engine) as pilot:
        await send(pilot, "precious")
        await wait_until(pilot, lambda: "waiting for the model" in text_on(pilot))
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: app_of(pilot).chat.idle.is_set())
        await pilot.pause(0.3)
        assert app_of(pilot).composer.text == "precious"
        engine.release()
