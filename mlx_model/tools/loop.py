"""The loop of a turn: ask, run what the model calls, ask again, until it has answered. Pure: its driver asks and runs.

turn = ToolTurn(toolbox, request)
while True:
    for event in session.stream(turn.request):
        turn.take(event)
    call = turn.next_call()
    if call is None:
        break                                    # turn.finished says how it ended
    result = turn.known_result(call) or ...      # else ask for permission, and run turn.toolbox.tool(call)
    turn.answer(call, result)
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from mlx_model.events import Event, Finished, Stats
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Message, Role
from mlx_model.request import Request
from mlx_model.tools.base import ToolResult
from mlx_model.tools.toolbox import Toolbox

MOST_CALLS = 40
"""Calls in a turn, by default. OpenAI's demonstration of browsing has 27."""
MOST_ALIKE = 3
"""How often the same call may come in a row."""

CANCELLED = "[Cancelled by the user.]"
"""What the model reads in place of the result of a call that was cancelled."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call is about to be run, once the next event is asked for: who saves on this event saves before it."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What the running tool has written."""

    call: ToolCall
    text: str


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call has its result, which is `message` in the conversation. It need not have been run: a call of a tool that
    there isn't, or the same call again, is answered at once."""

    call: ToolCall
    result: ToolResult

    @property
    def message(self) -> Message:
        """The result as the model reads it."""
        return self.call.result(self.result.text)


@dataclass(frozen=True, slots=True)
class ToolDenied:
    """A call is not run: the person, or a rule, is against it. `message` says so to the model."""

    call: ToolCall
    reason: str

    @property
    def message(self) -> Message:
        """What the model reads in place of a result."""
        return self.call.result(self.reason)


ToolEvent = ToolStarted | ToolOutput | ToolFinished | ToolDenied


class ToolTurn:
    """One turn with tools: what to ask next, and which call is to be answered first.

    A turn consists of rounds, one request each. It ends when the model has answered, when it calls a tool that is not
    run here, when it has called `most_calls` times or the same thing too often ("tool_limit"), or when a round ends
    for another reason. Everything that has come stays: the caller keeps the messages.
    """

    def __init__(self, toolbox: Toolbox, request: Request, *, most_calls: int = MOST_CALLS) -> None:
        self.toolbox = toolbox
        self.request = toolbox.request(request)
        """What to ask in the next round."""
        self._most_calls = most_calls
        self._most_tokens = request.options.max_tokens
        self._stats: Stats | None = None
        self._fold = self._new_fold()
        self._calls = 0
        self._last: tuple[str, ToolResult] | None = None
        self._alike = 0

    def take(self, event: Event) -> None:
        """Adds an event of the round."""
        self._fold.take(event)

    def next(self) -> ToolCall | Finished:
        """The round is over: the call that has to be answered before the next one, or how the turn has ended."""
        end = self._fold.finished or Finished("cancelled")
        self._stats = end.stats if self._stats is None else self._stats.and_then(end.stats)
        if end.reason != "tool_call" or not self.toolbox.runs or not self._fold.complete:
            return self.end(end.reason)
        call = self.toolbox.read(self._fold.complete[-1])
        if call is None or (call.error is None and self.toolbox.tool(call) is None):
            return self.end(end.reason)
        self._calls += 1
        self._alike = self._alike + 1 if self._last is not None and self._last[0] == _identity(call) else 1
        if self._calls > self._most_calls or self._alike > MOST_ALIKE:
            return self.end("tool_limit")
        return (
            call if self._most_tokens is None or self._stats.decode_tokens < self._most_tokens else self.end("length")
        )

    def known_result(self, call: ToolCall) -> ToolResult | None:
        """The result of a call that needs no tool: it can't be read, or it is the same as the one before.

        Python's state may have changed, and what takes no arguments (the time, dice) is called for something new.
        """
        if call.error is not None:
            return ToolResult(call.error, error=True)
        if self._last is None or self._alike == 1 or call.name == "python" or not call.arguments:
            return None
        result = self._last[1]
        hint = "You have this result already: the same call was made just before. Use it, or call something else."
        return None if result.error else replace(result, text=f"{hint}\n\n{result.text.removeprefix(hint).lstrip()}")

    def answer(self, call: ToolCall, result: ToolResult) -> None:
        """The call has its result: the next round's request has both."""
        self._last = _identity(call), result
        self._continue(call.result(result.text))

    def deny(self, call: ToolCall, reason: str) -> None:
        """The call is not run: the next round's request says why."""
        self._last = _identity(call), ToolResult(reason, error=True)
        self._continue(call.result(reason))

    def end(self, reason: str) -> Finished:
        """How the turn has ended if it ends here, with the figures of all its rounds."""
        return Finished(reason, self._stats or Stats())

    def _continue(self, result: Message) -> None:
        messages = self.request.messages
        before = messages[:-1] if self._unfinished else messages
        assert self._stats is not None  # a round is over
        most = None if self._most_tokens is None else self._most_tokens - self._stats.decode_tokens
        # One seed for the turn: who repeats it with the seed of its figures gets the same.
        options = replace(self.request.options, seed=self._stats.seed, max_tokens=most)
        self.request = replace(self.request, messages=(*before, *self._fold.complete, result), options=options)
        self._fold = self._new_fold()

    @property
    def _unfinished(self) -> tuple[Message, ...]:
        """The message that the round continues, where it was cut off."""
        last = self.request.messages[-1:]
        return tuple(last) if last and last[0].role is Role.ASSISTANT else ()

    def _new_fold(self) -> FoldedAnswer:
        return FoldedAnswer(self._unfinished)


def _identity(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}" if call.error is None else call.text
