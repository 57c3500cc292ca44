"""The whole way with the demo model: screen, engine process, model, and back."""

from functools import partial

from app.engine.protocol import Load
from app.tui.app import ChatApp
from app.tui.widgets.messages import AnswerView
from mlx_model.harmony.message import Role
from mlx_model.options import Options
from tests.fixtures.fakes import desk_of, send, text_on, wait_until


async def test_two_turns_with_the_demo_model() -> None:
    app = ChatApp(Load("demo"), Options(temperature=0.0))
    async with app.run_test(size=(100, 40)) as pilot:
        await wait_until(pilot, lambda: desk_of(pilot).status.state == "ready", "the demo model")
        assert "demo model" in text_on(pilot)
        for turn in (1, 2):
            await send(pilot, "How many r's are in strawberry?")
            await wait_until(pilot, partial(answered, app, turn), "the answer")
        views = list(app.query(AnswerView))
        reused = [view.finished.stats.reused_tokens for view in views if view.finished is not None]
        assert len(reused) == 2 and reused[0] == 0 and reused[1] > 0
        assert all([m.channel for m in view.messages] == ["analysis", "final"] for view in views)
        assert [tuple(view.messages) for view in views] == [n.messages for n in app.conversation.path if n.facts]


def answered(app: ChatApp, turns: int) -> bool:
    """Whether so many answers have come, and no more is under way."""
    messages = app.conversation.messages
    finals = sum(message.role is Role.ASSISTANT and message.channel == "final" for message in messages)
    return finals == turns and app.desk.status.state == "ready"
