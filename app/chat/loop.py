"""Drives one turn of a chat over the engine protocol: the same for the screen, the plain chat and `ask`."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from time import monotonic

from app.chat.answer import AnswerRecord
from app.chat.conversation import CallFacts
from app.engine.engine import Engine, EngineError
from app.engine.protocol import Answer
from app.tools.switched_on import Approval
from mlx_model.events import Finished
from mlx_model.harmony.calls import ToolCall, read_call
from mlx_model.harmony.message import Message
from mlx_model.request import Request
from mlx_model.tokens import about_tokens
from mlx_model.tools.base import Tool, ToolResult, bounded, crashed
from mlx_model.tools.budget import Budget
from mlx_model.tools.loop import (
    CANCELLED,
    MOST_CALLS,
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

CANCEL_S = 5.0
"""How long a tool that is cancelled may take to end; one that does not end is left to itself."""
CUT_OFF = "[The chat was closed while this call was run. It may have been carried out, wholly or in part.]"
"""What the model reads in place of the result of a call that ran when the program ended: it is not run again."""
SWITCHED_OFF = "The user has switched the tools off. Answer with what you have."


class TurnTools:
    """What the model may use in one turn, who decides on its calls, and how the person stops them."""

    def __init__(self, toolbox: Toolbox, approve: Approve, most_calls: int = MOST_CALLS) -> None:
        self.toolbox = toolbox
        self.most_calls = most_calls
        self.is_cancelled = False
        self._approve = approve
        self._is_off = False
        self._stop: Callable[[], object] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None  # in which a call is under way

    def cancel(self) -> None:
        """End the turn: the call under way at once, and no further one. An answer under way is the engine's to end.

        May be called in a signal handler.
        """
        self.is_cancelled = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)

    def switch_off(self) -> None:
        """Run nothing more in this turn: the call under way ends, and the model is told to answer without."""
        self._is_off = True
        self._stop()

    async def approve(self, call: ToolCall) -> Approval:
        """Decides on a call. Once the tools are switched off nothing is run, whatever was said before."""
        approval = Approval() if self._is_off else await self._approve(call)
        return Approval(refusal=SWITCHED_OFF) if self._is_off else approval

    async def run(self, tool: Tool, call: ToolCall, room: int) -> AsyncGenerator[ToolOutput | ToolResult, None]:
        """What the tool writes as it comes, and at the end its result, whatever the tool does."""
        pieces = asyncio.Queue[str | None]()
        task = asyncio.create_task(tool.run(call, bounded(pieces.put_nowait), room))
        task.add_done_callback(lambda _: pieces.put_nowait(None))

        def stop() -> None:
            task.cancel()
            pieces.put_nowait(None)

        self._stop, self._loop = stop, asyncio.get_running_loop()
        try:
            while (piece := await pieces.get()) is not None:
                yield ToolOutput(call, piece)
            await asyncio.wait([task], timeout=CANCEL_S)
            yield _result(task)
        finally:
            self._loop = None
            if task.cancel():
                await asyncio.wait([task], timeout=CANCEL_S)


def _result(task: asyncio.Task[ToolResult]) -> ToolResult:
    if not task.done() or task.cancelled():
        return ToolResult(CANCELLED, error=True)
    error = task.exception()
    return task.result() if error is None else crashed(error)


async def turn(
    engine: Engine, request: Request, record: AnswerRecord, tools: TurnTools | None = None
) -> AsyncGenerator[TurnEvent, None]:
    """Ask, and yield each event once `record` has it. The last one is Finished, with the figures of the whole turn.

    A turn consists of rounds, one request to the engine each: the result of a tool is the request of the next. A call
    is run when the event after its ToolStarted is asked for, so who saves on that event has it on disk before anything
    happens. `record` gets results whole; in the requests old ones make room for new ones (see Budget). A turn in which
    nothing more can be left out ends with "length". Where the answer was cut off while a call was run, that call is not
    run again: its result says so. Closing the generator cancels the answer, and a running tool.
    Raises EngineError and EngineDied; `record` then has everything that came before.
    """
    tools = tools or TurnTools(Toolbox(), _never_asked)
    if (message := record.cut_off_call) is not None:
        told = _told_cut_off(message, record)
        request = replace(request, messages=(*request.messages, told.message))
        yield told
    budget = Budget(engine.context_length, about_tokens)
    rounds = ToolTurn(tools.toolbox, request, most_calls=tools.most_calls, budget=budget)
    async with aclosing(_rounds(engine, rounds, record, tools)) as events:
        async for event in events:
            yield event


async def _rounds(
    engine: Engine, rounds: ToolTurn, record: AnswerRecord, tools: TurnTools
) -> AsyncGenerator[TurnEvent, None]:
    number: int | None = None  # of the last round that has ended
    while True:
        ended: int | None = None
        try:
            async with aclosing(_round(engine, rounds, record)) as answers:
                async for answer in answers:
                    if isinstance(answer.event, Finished):
                        ended = answer.number
                    else:
                        yield answer
        except EngineError as error:
            if number is None or not error.unusable:
                raise
            call: ToolCall | Finished | None = rounds.end("length")  # nothing more can be left out
        else:
            if ended is None:
                return
            number, call = ended, rounds.next()
        if isinstance(call, ToolCall) and not tools.is_cancelled:
            async with aclosing(_answered(rounds, call, tools, record)) as events:
                async for tool_event in events:
                    yield tool_event
        if tools.is_cancelled and not isinstance(call, Finished):
            call = rounds.end("cancelled")
        if isinstance(call, Finished):
            record.take(call, monotonic())
            yield Answer(number, call)
            return


async def _round(engine: Engine, rounds: ToolTurn, record: AnswerRecord) -> AsyncGenerator[Answer, None]:
    """What the engine brings in one round, each event once `record` has it; last its Finished, for the round alone.

    A round that the engine has no room for is asked again with less, as long as something can be left out.
    """
    while True:
        try:
            async with aclosing(engine.ask(rounds.request)) as answers:
                async for answer in answers:
                    for event in rounds.take(answer.event):
                        deltas = answer.deltas if event is answer.event else 1
                        if not isinstance(event, Finished):
                            record.take(event, monotonic(), deltas)
                        yield Answer(answer.number, event, deltas)
            return
        except EngineError as error:
            if not error.unusable or not rounds.make_room():
                raise


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
            denied = rounds.deny(call, approval.refusal)
            record.add(denied.message, CallFacts(error=True, outcome="not allowed"))
            yield denied
            return
        allowed = approval.by
        record.begin_call(allowed)
        yield ToolStarted(call)
        async with aclosing(tools.run(tool, call, rounds.room(call))) as items:
            async for item in items:
                if isinstance(item, ToolResult):
                    result = item
                else:
                    yield item
        assert result is not None
    finished = rounds.answer(call, result)
    record.add(finished.message, CallFacts.of(finished.result, allowed))
    yield finished


def _told_cut_off(message: Message, record: AnswerRecord) -> ToolFinished:
    """The call with which a continued answer begins has its result, which says that there is none."""
    call = read_call(message)
    assert call is not None  # the record says that it is one
    finished = ToolFinished(call, ToolResult(CUT_OFF, error=True, outcome="cut off"))
    record.add(finished.message, CallFacts.of(finished.result, record.call_facts[-1].allowed))
    return finished


async def _never_asked(call: ToolCall) -> Approval:
    """The approval of a turn without tools."""
    raise AssertionError(call.name)
