"""The line under an answer, and that all text of less weight can be read in our themes."""

import pytest
from textual.color import Color
from textual.widget import Widget

from app.chat.footer import footer
from app.tui.widgets.messages import AnswerView
from app.tui.widgets.status import EffortSwitch
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, idle

SOME = Stats(decode_tokens=1234, decode_s=61.7, ttft_s=0.5)


@pytest.mark.parametrize(
    ("reason", "stats", "said"),
    [
        ("stop", SOME, "low   20.0 tok/s   1,234 tokens   first token 0.5 s"),
        ("cancelled", SOME, "low   20.0 tok/s   1,234 tokens   first token 0.5 s   stopped"),
        ("cancelled", Stats(), "low   stopped before it began"),
        ("cancelled", None, "low   stopped"),
        ("died", None, "low   cut off: the engine stopped"),
        ("length", Stats(), "low   cut off: token limit"),
        ("stop", Stats(reused_tokens=2500, decode_tokens=1), "low   1 tokens   2,500 reused"),
        ("", None, "low   not finished: the program ended"),
        ("of a newer version", None, "low"),
    ],
)
def test_the_line(reason: str, stats: Stats | None, said: str) -> None:
    assert footer(Effort.LOW, reason, stats) == said
    assert footer(None, reason, stats) == said.removeprefix("low").lstrip()


def luminance(color: Color) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(widget: Widget, color: Color) -> float:
    """Of a colour to what is behind a widget's text; WCAG wants 4.5."""
    behind = widget.background_colors[1]
    dark, light = sorted((luminance(behind), luminance(behind + color)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_footer_and_placeholder_can_be_read(theme: str) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        await ask(pilot, engine, "hi", "hello")
        app = app_of(pilot)
        app.preferences.set_theme(theme)
        await pilot.pause()
        below = app.query_one(AnswerView).query_one(".footer")
        assert contrast(below, below.styles.color) >= 4.5
        choice = app.query_one(EffortSwitch)
        assert contrast(choice, choice.styles.color) >= 4.5
        assert (
            contrast(app.desk.composer, app.desk.composer.get_component_styles("text-area--placeholder").color) >= 4.5
        )
