"""Drives one turn of a chat over the engine protocol: the same for the screen, the plain chat and `ask`."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from time import monotonic

from app.chat.answer import AnswerRecord
from app.chat.conversation import CallFacts
from app.engine.engine import Engine, EngineError
from app.engine.protocol import Answer
from app.tools.switched_on import Approval
from mlx_model.events import Finished
from mlx_model.harmony.calls import ToolCall
from mlx_model.request import Request
from mlx_model.tools.base import Tool, ToolResult
from mlx_model.tools.loop import (
    CANCELLED,
    MOST_CALLS,
    ToolDenied,
    ToolEvent,
    ToolFinished,
    ToolOutput,
    ToolStarted,
    ToolTurn,
)
from mlx_model.tools.toolbox import Toolbox

TurnEvent = Answer | ToolEvent
"""What a turn yields: the engine's events, and what becomes of the tools that the model calls."""

Approve = Callable[[ToolCall], Awaitable[Approval]]
"""Decides on a call before it is run."""


class TurnTools:
    """What the model may use in one turn, who decides on its calls, and how the person stops them."""

    def __init__(self, toolbox: Toolbox, approve: Approve, most_calls: int = MOST_CALLS) -> None:
        self.toolbox = toolbox
        self.approve = approve
        self.most_calls = most_calls
        self.is_cancelled = False
        self._running: asyncio.Task[ToolResult] | None = None

    def cancel(self) -> None:
        """End the turn: the call under way at once, and no further one. An answer under way is the engine's to end.

        May be called in a signal handler.
        """
        self.is_cancelled = True
        if self._running is not None:
            self._running.get_loop().call_soon_threadsafe(self._running.cancel)

    async def run(self, tool: Tool, call: ToolCall) -> AsyncGenerator[ToolOutput | ToolResult, None]:
        """What the tool writes as it comes, and at the end its result."""
        pieces = asyncio.Queue[str | None]()
        task = self._running = asyncio.create_task(tool.run(call, pieces.put_nowait))
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield ToolOutput(call, piece)
            yield ToolResult(CANCELLED, error=True) if task.cancelled() else task.result()
        finally:
            self._running = None
            task.cancel()
            await asyncio.wait([task])


async def turn(
    engine: Engine, request: Request, record: AnswerRecord, tools: TurnTools | None = None
) -> AsyncGenerator[TurnEvent, None]:
    """Ask, and yield each event once `record` has it. The last one is Finished, with the figures of the whole turn.

    A turn consists of rounds, one request to the engine each: the result of a tool is the request of the next. A call
    is run when the event after its ToolStarted is asked for, so who saves on that event has it on disk before anything
    happens. A turn whose results leave no room for another round ends with "length". Closing the generator cancels the
    answer, and a running tool. Raises EngineError and EngineDied; `record` then has everything that came before.
    """
    tools = tools or TurnTools(Toolbox(), _never_asked)
    rounds = ToolTurn(tools.toolbox, request, most_calls=tools.most_calls)
    number: int | None = None  # of the last round that has ended
    while True:
        ended: int | None = None
        try:
            async with aclosing(engine.ask(rounds.request)) as answers:
                async for answer in answers:
                    rounds.take(answer.event)
                    if isinstance(answer.event, Finished):
                        ended = answer.number
                    else:
                        record.take(answer.event, monotonic(), answer.deltas)
                        yield answer
        except EngineError as error:
            if number is None or not error.unusable:
                raise
            call: ToolCall | Finished = rounds.end("length")  # the results have outgrown the context
        else:
            if ended is None:
                return
            number, call = ended, rounds.next()
        if isinstance(call, ToolCall) and not tools.is_cancelled:
            async with aclosing(_answered(rounds, call, tools, record)) as events:
                async for event in events:
                    yield event
        if isinstance(call, Finished) or tools.is_cancelled:
            end = call if isinstance(call, Finished) else rounds.end("cancelled")
            record.take(end, monotonic())
            yield Answer(number, end)
            return


async def _answered(
    rounds: ToolTurn, call: ToolCall, tools: TurnTools, record: AnswerRecord
) -> AsyncGenerator[ToolEvent, None]:
    """What becomes of a call, up to its result."""
    result, tool, allowed = rounds.known_result(call), tools.toolbox.tool(call), ""
    if result is None:
        assert tool is not None  # a call without a tool here ends the turn
        approval = await tools.approve(call)
        if tools.is_cancelled:  # the call stays as it is, to be decided on when the turn is continued
            return
        if approval.refusal is not None:
            rounds.deny(call, approval.refusal)
            denied = ToolDenied(call, approval.refusal)
            record.add(denied.message, CallFacts(error=True, outcome="not allowed"))
            yield denied
            return
        allowed = approval.by
        yield ToolStarted(call)
        async with aclosing(tools.run(tool, call)) as items:
            async for item in items:
                if isinstance(item, ToolResult):
                    result = item
                else:
                    yield item
        assert result is not None
    rounds.answer(call, result)
    finished = ToolFinished(call, result)
    record.add(finished.message, CallFacts.of(result, allowed))
    yield finished


async def _never_asked(call: ToolCall) -> Approval:
    """The approval of a turn without tools."""
    raise AssertionError(call.name)
