"""The whole way with the demo model: screen, engine process, model, and back."""

from app.engine.protocol import Load
from app.tui.app import ChatApp
from app.tui.widgets.messages import AnswerView
from mlx_model.harmony.message import Role
from mlx_model.options import Options
from tests.fixtures.fakes import app_of, send, text_on, wait_until


async def test_two_turns_with_the_demo_model() -> None:
    app = ChatApp(Load("demo"), Options(temperature=0.0))
    async with app.run_test(size=(100, 40)) as pilot:
        await wait_until(pilot, lambda: app_of(pilot).status.state == "ready", "the demo model")
        assert "demo model" in text_on(pilot)
        for turn in (1, 2):
            await send(pilot, "How many r's are in strawberry?")
            await wait_until(pilot, lambda turn=turn: finals(app) == turn, "the answer")
            await wait_until(pilot, lambda: app.status.state == "ready")
        views = list(app.query(AnswerView))
        stats = [view.finished and view.finished.stats for view in views]
        assert stats[0].reused_tokens == 0 and stats[1].reused_tokens > 0
        assert all([m.channel for m in view.messages] == ["analysis", "final"] for view in views)
        assert [tuple(view.messages) for view in views] == [n.messages for n in app.conversation.path if n.facts]


def finals(app: ChatApp) -> int:
    """Answers that have come."""
    messages = app.conversation.messages
    return sum(message.role is Role.ASSISTANT and message.channel == "final" for message in messages)
