"""The loop of a turn: ask, run what the model calls, ask again, until it has answered. Pure: its driver asks and runs.

turn = ToolTurn(toolbox, request)
while True:
    for event in session.stream(turn.request):
        turn.take(event)
    call = turn.next_call()
    if call is None:
        break                                    # turn.finished says how it ended
    result = turn.known_result(call) or ...      # else ask for permission, and run turn.toolbox.tool(call)
    turn.answer(call, result)                    # the ToolFinished of what the model gets
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlx_model.events import Event, Finished, MessageEnd, PrefillProgress, Queued, Stats, Warned
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.harmony.message import Message, Role
from mlx_model.request import Request
from mlx_model.tools.base import ToolResult
from mlx_model.tools.budget import LITTLE_LEFT, Budget, with_half, with_note
from mlx_model.tools.repeats import Repeats
from mlx_model.tools.toolbox import Toolbox

MOST_CALLS = 40
"""Calls in a turn, by default. OpenAI's demonstration of browsing has 27."""

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
    for another reason. Everything that has come stays: the caller keeps the messages. In `request` old results make
    room for new ones as `budget` says; to the caller they stay what they were.
    """

    def __init__(
        self, toolbox: Toolbox, request: Request, *, most_calls: int = MOST_CALLS, budget: Budget | None = None
    ) -> None:
        self.toolbox = toolbox
        self._budget = budget or Budget()
        self.request = self._budget.opened(toolbox.request(request))
        """What to ask in the next round."""
        self._most_calls = most_calls
        self._most_tokens = request.options.max_tokens
        self._stats: Stats | None = None
        self._used = 0  # tokens of the conversation after the last round
        self._fold = self._new_fold()
        self._has_begun = False  # this round has brought something
        self._held: list[Event] = []
        self._calls = 0
        self._repeats = Repeats()

    def take(self, event: Event) -> list[Event]:
        """Adds an event of the round; returns those to pass on.

        The end of a message is held back until the next event: where the context has cut it off it may go on. What is
        warned of is said once.
        """
        if isinstance(event, Warned):
            return [event] if self._stats is None else []
        self._has_begun = self._has_begun or not isinstance(event, Queued | PrefillProgress)
        self._fold.take(event)
        held, self._held = self._held, []
        if isinstance(event, MessageEnd):
            self._held = [event]
            return held
        return [event] if isinstance(event, Finished) and self._goes_on(event) else [*held, event]

    def next(self) -> ToolCall | Finished | None:
        """The round is over: the call that has to be answered before the next one, or how the turn has ended.

        None where the context was full and results could leave: `request` goes on where the round was cut off.
        """
        end = self._fold.finished or Finished("cancelled")
        goes_on = self._goes_on(end)
        self._stats = end.stats if self._stats is None else self._stats.and_then(end.stats)
        self._used = _tokens(end.stats)
        if goes_on:
            self._continue()
            return None
        if end.reason != "tool_call" or not self.toolbox.runs or not self._fold.complete:
            return self.end(end.reason)
        call = self.toolbox.read(self._fold.complete[-1])
        if call is None or (call.error is None and self.toolbox.tool(call) is None):
            return self.end(end.reason)
        self._calls += 1
        if self._calls > self._most_calls or self._repeats.goes_round(call):
            return self.end("tool_limit")
        if self._most_tokens is not None and self._stats.decode_tokens >= self._most_tokens:
            return self.end("length")
        # The thought of the round may have taken what was left: first there is room again, then the call gets some.
        messages, self._used = self._budget.relieved(self.request.messages, self._used)
        self.request = replace(self.request, messages=messages)
        return call

    def known_result(self, call: ToolCall) -> ToolResult | None:
        """The result of a call that needs no tool: it can't be read, it is the same as the one before, or there is no
        room for another result."""
        if call.error is not None:
            what = "there is no such tool" if self.toolbox.tool(call) is None else "its arguments can't be read"
            return ToolResult(call.error, error=True, outcome=what)
        if self._budget.is_spent(self._used):
            return ToolResult(LITTLE_LEFT, error=True, outcome="little context is left")
        return self._repeats.known(call)

    def room(self, call: ToolCall) -> int:
        """The tokens that the result of a call should take."""
        return self._budget.room(call.name, self._used)

    def answer(self, call: ToolCall, result: ToolResult) -> ToolFinished:
        """The call has its result: the next round's request has both. Returns what the model gets of it."""
        result = replace(result, text=self._budget.bounded(result.text, self._used))
        self._repeats.add(call, result)
        finished = ToolFinished(call, result)
        self._continue(finished.message)
        return finished

    def deny(self, call: ToolCall, reason: str) -> ToolDenied:
        """The call is not run: the next round's request says why."""
        self._repeats.add(call, ToolResult(reason, error=True))
        denied = ToolDenied(call, reason)
        self._continue(denied.message)
        return denied

    def make_room(self) -> bool:
        """The engine had no room for the round: whether the request has become shorter, so that it can be asked again.

        False as well if the round has brought something, since then it is not its length that went wrong.
        """
        if self._has_begun:
            return False
        before = self.request.messages
        messages, self._used = self._budget.relieved(before, max(self._used, self._budget.context))
        if messages == before:
            messages = with_half(before)
        if _length(messages) >= _length(before):
            return False
        self.request = replace(self.request, messages=messages)
        return True

    def end(self, reason: str) -> Finished:
        """How the turn has ended if it ends here, with the figures of all its rounds."""
        return Finished(reason, self._stats or Stats())

    def _goes_on(self, end: Finished) -> bool:
        """Whether the context has cut the round off, and results can leave to make room for the rest."""
        decoded = end.stats.decode_tokens + (self._stats.decode_tokens if self._stats else 0)
        if end.reason != "length" or (self._most_tokens is not None and decoded >= self._most_tokens):
            return False
        messages = self.request.messages
        return self._budget.relieved(messages, _tokens(end.stats))[0] != messages

    def _continue(self, *results: Message) -> None:
        messages = self.request.messages
        before = messages[:-1] if self._unfinished else messages
        assert self._stats is not None  # a round is over
        most = None if self._most_tokens is None else self._most_tokens - self._stats.decode_tokens
        # One seed for the turn: who repeats it with the seed of its figures gets the same.
        options = replace(self.request.options, seed=self._stats.seed, max_tokens=most)
        used = self._used + sum(map(self._budget.size, results))
        messages, self._used = self._budget.relieved((*before, *self._fold.complete, *results), used)
        if self._budget.is_little(self._used) and any(result.text != LITTLE_LEFT for result in results):
            messages = (*messages[:-1], with_note(messages[-1]))
        # What had to be called has been: were it asked for again, there would never be an answer.
        is_made = bool(results) and self.request.tool_choice != "none"
        choice = "auto" if is_made else self.request.tool_choice
        self.request = replace(self.request, messages=messages, options=options, tool_choice=choice)
        self._fold, self._has_begun = self._new_fold(), False

    @property
    def _unfinished(self) -> tuple[Message, ...]:
        """The message that the round continues, where it was cut off."""
        last = self.request.messages[-1:]
        return tuple(last) if last and last[0].role is Role.ASSISTANT else ()

    def _new_fold(self) -> FoldedAnswer:
        return FoldedAnswer(self._unfinished)


def _tokens(stats: Stats) -> int:
    """Those of the conversation after a round."""
    return stats.reused_tokens + stats.prefill_tokens + stats.decode_tokens


def _length(messages: Sequence[Message]) -> int:
    return sum(len(message.text) for message in messages)
