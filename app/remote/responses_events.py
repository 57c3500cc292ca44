"""The events of OpenAI's Responses API as those of the engine, whatever a server leaves out or adds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.engine.engine import EngineError
from app.lines import one_line
from app.remote.function_names import PYTHON, FunctionNames, code_of
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import CONSTRAIN, Message, Role

_LONGEST_ERROR = 500
_MOST = 2**40
"""No count of tokens is as much."""
_DELTAS = {
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.output_text.delta": "message",
    "response.refusal.delta": "message",
    "response.function_call_arguments.delta": "function_call",
}
_ENDINGS = ("response.completed", "response.incomplete", "response.cancelled")
_FAILURES = ("response.failed", "error")


@dataclass(slots=True)
class _Open:
    """The item that is being written."""

    kind: str
    start: MessageStart
    texts: list[str] = field(default_factory=list)
    call_id: str = ""
    has_summary: bool = False

    @property
    def text(self) -> str:
        return "".join(self.texts)


class ResponseEvents:
    """Reads the events of one response. `calls` is what the model has called, with the server's id."""

    def __init__(self, names: FunctionNames) -> None:
        self.calls: list[tuple[Message, str]] = []
        self.usage = Stats()
        """The counts that the server gives at the end."""
        self._names = names
        self._open: _Open | None = None
        self._has_said = self._has_items = False

    def take(self, event: Mapping[str, Any]) -> Iterator[Event]:
        """What an event brings; the last is Finished, without times. Raises EngineError if the response has failed."""
        kind = _text(event, "type")
        if kind == "response.output_item.added":
            yield from self._begin(_object(event, "item"))
        elif kind in _DELTAS:
            yield from self._add(_DELTAS[kind], _text(event, "delta"), is_summary="summary" in kind)
        elif kind == "response.output_item.done":
            yield from self._end(_object(event, "item"))
        elif kind in _ENDINGS:
            yield from self._finish(kind, _object(event, "response"))
        elif kind in _FAILURES:
            raise _failure(_object(_object(event, "response"), "error") or _object(event, "error") or event)

    def _begin(self, item: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._close()
        kind = _text(item, "type")
        if self.calls:  # Harmony knows no calls side by side: the model makes the others when it has the first's result
            return
        if kind == "reasoning":
            start = MessageStart("analysis")
        elif kind == "message":
            start = MessageStart("commentary" if item.get("phase") == "commentary" else "final")
        elif kind == "function_call":
            recipient = self._names.recipient(_text(item, "name")[:200])
            start = MessageStart("commentary", recipient, "code" if recipient == PYTHON else f"{CONSTRAIN}json")
        else:
            return
        self._has_items = True
        self._open = _Open(kind, start, call_id=_text(item, "call_id")[:200])
        yield start

    def _add(self, kind: str, text: str, *, is_summary: bool = False) -> Iterator[Event]:
        if (self._open is None or self._open.kind != kind) and kind != "function_call":
            yield from self._begin({"type": kind})
        opened = self._open
        if opened is None or opened.kind != kind or not text:
            return
        if is_summary and opened.texts and not opened.has_summary:  # of the thought that has come as it is
            return
        opened.has_summary = is_summary
        opened.texts.append(text)
        if opened.start.recipient != PYTHON:
            yield TextDelta(opened.start.channel, text, opened.start.recipient)

    def _end(self, item: Mapping[str, Any]) -> Iterator[Event]:
        kind = _text(item, "type")
        if self._open is None or self._open.kind != kind:
            yield from self._begin(item)
        if self._open is not None and not self._open.texts:
            yield from self._add(kind, _whole(item))
        if self._open is not None:
            self._open.call_id = _text(item, "call_id")[:200] or self._open.call_id
        yield from self._close()

    def _close(self) -> Iterator[Event]:
        opened, self._open = self._open, None
        if opened is None:
            return
        start, text = opened.start, opened.text
        if start.recipient == PYTHON:
            text = code_of(text)
            yield TextDelta(start.channel, text, start.recipient)
        message = Message(Role.ASSISTANT, text, None, start.channel, start.recipient, start.content_type)
        if start.recipient is not None:
            self.calls.append((message, opened.call_id))
        elif start.channel == "final" and text:
            self._has_said = True
        yield MessageEnd(message)

    def _finish(self, kind: str, response: Mapping[str, Any]) -> Iterator[Event]:
        yield from self._close()
        output = response.get("output")
        if not self._has_items and isinstance(output, list):
            for item in output:
                yield from self._end(item if isinstance(item, dict) else {})
        self.usage = _stats(_object(response, "usage"))
        status = response.get("status")
        if kind == "response.cancelled" or status == "cancelled":
            reason = "cancelled"
        elif kind == "response.incomplete" or status == "incomplete":
            reason = "length"
        else:
            reason = "tool_call" if self.calls else "stop" if self._has_said else "no_answer"
        yield Finished(reason, self.usage)


def _failure(error: Mapping[str, Any]) -> EngineError:
    words = one_line(_text(error, "message"))[:_LONGEST_ERROR] or "the server failed"
    too_long = error.get("code") == "context_length_exceeded"
    return EngineError(words, too_long, too_long)


def _stats(usage: Mapping[str, Any]) -> Stats:
    tokens, cached = _count(usage, "input_tokens"), _count(_object(usage, "input_tokens_details"), "cached_tokens")
    thought = _count(_object(usage, "output_tokens_details"), "reasoning_tokens")
    return Stats(
        prefill_tokens=max(tokens - cached, 0),
        reused_tokens=cached,
        decode_tokens=_count(usage, "output_tokens"),
        analysis_tokens=thought,
    )


def _whole(item: Mapping[str, Any]) -> str:
    """The text of an item that was not streamed."""
    if item.get("type") == "function_call":
        return _text(item, "arguments")
    for key in ("content", "summary"):
        parts = item.get(key)
        texts = [_text(part, "text") or _text(part, "refusal") for part in parts or [] if isinstance(part, dict)]
        if text := "".join(texts):
            return text
    return ""


def _object(fields: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _count(fields: Mapping[str, Any], key: str) -> int:
    value = fields.get(key)
    return value if type(value) is int and 0 <= value < _MOST else 0
