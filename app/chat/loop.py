"""Drives one turn of a chat over the engine protocol: the same for the screen, the plain chat and `ask`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

from app.chat.answer import AnswerRecord
from app.engine.engine import Engine
from app.engine.protocol import Answer
from mlx_model.request import Request

TurnEvent = Answer
"""What a turn yields: so far the engine's events alone."""


async def turn(engine: Engine, request: Request, record: AnswerRecord) -> AsyncGenerator[TurnEvent, None]:
    """Ask, and yield each event once `record` has it. The last one is Finished.

    A turn consists of rounds, one request to the engine each. Without tools there is one round: the results of tools
    would be the request of the next. Closing the generator cancels the answer. Raises EngineError and EngineDied;
    `record` then has everything that came before.
    """
    async with aclosing(engine.ask(request)) as answers:
        async for answer in answers:
            record.take(answer.event, monotonic(), answer.deltas)
            yield answer
