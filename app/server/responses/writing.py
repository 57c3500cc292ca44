"""What the engine brings, as the events of a response and the response itself. Pure: the caller has clock and wire."""

from collections.abc import Iterable, Iterator
from typing import Any

from app.chat.loop import TurnEvent
from app.engine.protocol import Answer
from app.server.errors import ApiError
from app.server.responses.hosted import CodeItem, SearchItem, hosted_item
from app.server.responses.output import CallItem, CustomCallItem, MessageItem, OutputItem, ReasoningItem, Wire, new_id
from app.server.responses.reading import AskedResponse
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, PrefillProgress, Queued, Stats, TextDelta
from mlx_model.harmony.message import NO_TOOL, Role
from mlx_model.tools.loop import ToolDenied, ToolEvent, ToolFinished, ToolStarted

Events = list[dict[str, Any]]

_CUT_OFF = ("length", "tool_limit", "cancelled")
"""How an answer ends whose last message may not be whole."""


class ResponseWriter:
    """One response: `opening` first, then `take` what comes, `waiting` where nothing does, or `fail` it.

    The last event of either is the terminal one; `is_closed` then, and `response` is what a client gets that does not
    stream. With `withholds_reasoning` thoughts are counted, but not shown.
    """

    def __init__(self, asked: AskedResponse, created_at: int, *, withholds_reasoning: bool = False) -> None:
        self.id = new_id("resp")
        self.call_id: str | None = None
        """The id of the client's tool's call that the answer ends with."""
        self.is_closed = False
        self._asked = asked
        self._created_at = created_at
        self._withholds_reasoning = withholds_reasoning
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open: OutputItem | None = None
        self._is_between = True  # no message has started: text would go on with one that was cut off
        self._hosted: SearchItem | CodeItem | None = None
        self._status = "in_progress"
        self.error: ApiError | None = None
        """Why the response has come to nothing."""
        self._stats: Stats | None = None
        self._prefill: dict[str, int] | None = None
        self._ahead = 0  # answers that the engine gives before this one, where memory is short

    @property
    def response(self) -> dict[str, Any]:
        """The response as far as it has come."""
        failed, stats = self.error, self._stats
        incomplete = {"reason": "max_output_tokens"} if self._status == "incomplete" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "status": self._status,
            "background": False,
            "error": None if failed is None else {"code": failed.code or "server_error", "message": str(failed)},
            "incomplete_details": incomplete,
            "output": [*self._output],
            "usage": None if stats is None else usage(stats),
            **self._asked.echo,
        }

    def opening(self) -> Events:
        """What a client hears at once, before anything is computed."""
        return self._numbered(self._states("response.created", "response.in_progress"))

    def waiting(self, ahead: int = 0) -> Events:
        """A sign of life, which says how many requests are ahead or how far the prompt is: Codex takes no SSE comment
        for one."""
        ahead = ahead or self._ahead
        extra: dict[str, Any] = {"queue": {"ahead": ahead}} if ahead else {}
        if self._prefill is not None:
            extra = {"prefill": self._prefill}
        return self._numbered([("response.in_progress", {"response": self.response, **extra})])

    def take(self, event: TurnEvent) -> Events:
        """The events for one of the engine's, or of a tool's."""
        inner = event.event if isinstance(event, Answer) else event
        return self._numbered(self._wire(inner))

    def fail(self, error: ApiError) -> Events:
        """The end of a response that comes to nothing."""
        self.error, self._status = error, "failed"
        return self._numbered([*self._close_all("incomplete"), *self._ending("response.failed")])

    def _wire(self, event: Event | ToolEvent) -> Iterator[Wire]:
        match event:
            case Queued(before):
                self._ahead = before
            case PrefillProgress(done, total):
                self._prefill = {"done": done, "total": total}
            case MessageStart():
                yield from self._close("completed")
                yield from self._begin(event)
            case TextDelta(channel=channel, recipient=recipient):
                if self._is_between:
                    yield from self._begin(MessageStart(channel, recipient))
                if self._open is not None:
                    yield from self._placed(self._open.grown(event))
            case MessageEnd():
                self._is_between = True
            case ToolStarted() | ToolFinished() | ToolDenied():
                yield from self._close("completed")
                yield from self._hosted_call(event)
            case Finished(reason, stats):
                yield from self._finish(reason, stats)

    def _begin(self, start: MessageStart) -> Iterator[Wire]:
        """The item of a message that starts, if it is one that clients see."""
        self._is_between = False
        if start.role != Role.ASSISTANT:
            return
        if start.recipient not in NO_TOOL:
            tool = self._asked.declared.called(start.recipient or "")
            if self._asked.declared.is_hosted(tool):  # it shows when it is run
                return
            call = CustomCallItem(tool) if tool.is_custom else CallItem(tool)
            self.call_id = call.call_id
            self._open = call
        elif start.channel == "analysis":
            if self._withholds_reasoning:
                return
            self._open = ReasoningItem(has_summary=self._asked.wants_summary)
        else:
            self._open = MessageItem(start)
        yield "response.output_item.added", {"output_index": len(self._output), "item": self._open.json("in_progress")}
        yield from self._placed(self._open.opened())

    def _close(self, status: str) -> Iterator[Wire]:
        """The end of the open item."""
        item, self._open = self._open, None
        if item is None:
            return
        yield from self._placed(item.closed())
        yield from self._done(item.json(status))

    def _close_all(self, status: str) -> Iterator[Wire]:
        """The end of whatever is open."""
        yield from self._close(status)
        item, self._hosted = self._hosted, None
        if item is not None:
            yield from self._done(item.json("incomplete"))

    def _hosted_call(self, event: ToolStarted | ToolFinished | ToolDenied) -> Iterator[Wire]:
        if self._hosted is None:
            item = self._hosted = hosted_item(event.call)
            yield "response.output_item.added", {"output_index": len(self._output), "item": item.json("in_progress")}
            yield from self._placed(item.started())
        if not isinstance(event, ToolStarted):
            item, self._hosted = self._hosted, None
            yield from self._placed(item.finished())
            result = event.result.text if isinstance(event, ToolFinished) else event.reason
            yield from self._done(item.json("completed", result))

    def _finish(self, reason: str, stats: Stats) -> Iterator[Wire]:
        self._stats = stats
        cut_off = reason in _CUT_OFF
        yield from self._close_all("incomplete" if cut_off else "completed")
        self._status = {"cancelled": "cancelled"}.get(reason, "incomplete" if cut_off else "completed")
        if reason != "tool_call":
            self.call_id = None
        yield from self._ending("response.incomplete" if cut_off else "response.completed")

    def _ending(self, type: str) -> Iterator[Wire]:
        self.is_closed = True
        yield type, {"response": self.response}

    def _states(self, *types: str) -> Iterator[Wire]:
        for type in types:
            yield type, {"response": self.response}

    def _done(self, item: dict[str, Any]) -> Iterator[Wire]:
        index = len(self._output)
        self._output.append(item)
        yield "response.output_item.done", {"output_index": index, "item": item}

    def _placed(self, events: Iterable[Wire]) -> Iterator[Wire]:
        """Events of the item that comes next in the output."""
        for type, fields in events:
            yield type, {"output_index": len(self._output), **fields}

    def _numbered(self, events: Iterable[Wire]) -> Events:
        numbered = []
        for type, fields in events:
            numbered.append({"type": type, "sequence_number": self._number, **fields})
            self._number += 1
        return numbered


def usage(stats: Stats) -> dict[str, Any]:
    """The tokens of a response."""
    prompt = stats.prefill_tokens + stats.reused_tokens
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": stats.reused_tokens, "cache_write_tokens": 0},
        "output_tokens": stats.decode_tokens,
        "output_tokens_details": {"reasoning_tokens": stats.analysis_tokens},
        "total_tokens": prompt + stats.decode_tokens,
    }
