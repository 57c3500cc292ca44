"""An answer on its way to the screen: what happens to the turn when showing it fails."""

from collections.abc import AsyncGenerator
from unittest.mock import AsyncMock

import pytest

from app.chat.answer import AnswerRecord
from app.chat.loop import TurnEvent
from app.engine.protocol import Answer
from app.tui.parts.answering import READING, AnswerStream
from app.tui.widgets.messages import AnswerView
from app.tui.widgets.status import StatusLine
from mlx_model.events import MessageStart, PrefillProgress
from mlx_model.harmony.message import Effort


class BrokenView(AnswerView):
    """Fails at its first event."""

    def wait(self, text: str) -> None:
        if text != READING:  # which it says before there is an event
            raise ValueError("layout")


async def test_the_turn_is_closed_at_once_when_showing_it_fails() -> None:
    closed: list[bool] = []

    async def turn() -> AsyncGenerator[TurnEvent, None]:
        try:
            yield Answer(1, MessageStart("final"))
        finally:
            closed.append(True)

    events = turn()  # held here, so that no garbage collector closes it
    stream = AnswerStream(BrokenView(None, analysis="hidden"), StatusLine(), AnswerRecord(Effort.LOW), AsyncMock())
    with pytest.raises(ValueError, match="layout"):
        await stream.run(events)
    assert closed == [True]


async def test_a_call_of_a_continued_answer_that_waits_for_the_person_reads_no_prompt() -> None:
    said, status = list[str](), StatusLine()

    class View(AnswerView):
        """Notes what the answer waits for."""

        def wait(self, text: str) -> None:
            said.append(text)

    async def turn() -> AsyncGenerator[TurnEvent, None]:
        yield Answer(1, PrefillProgress(1, 1_000))
        yield Answer(1, PrefillProgress(320, 1_000))
        stream.ask()  # the call was complete, and nothing of it had to be written
        assert (said[-1], status.progress) == ("", None)

    stream = AnswerStream(View(None, analysis="hidden"), status, AnswerRecord(Effort.LOW), AsyncMock())
    await stream.run(turn())
    assert said[0] == READING
