"""The items of a response as they grow: each opens, takes deltas, and closes, and says so in events."""

import json
import secrets
from collections.abc import Iterator
from typing import Any, Protocol

from app.server.declared import CalledTool
from app.server.sampling import logprobs_json
from metal.files import parse_json
from mlx_model.events import MessageStart, TextDelta
from mlx_model.harmony.openai_messages import CUSTOM_INPUT

Wire = tuple[str, dict[str, Any]]
"""An event before it has its number and the index of its item: the type, and fields."""


def new_id(prefix: str) -> str:
    """An id that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(16)}"


class OutputItem(Protocol):
    """An item that a message of the model's becomes."""

    id: str

    def json(self, status: str) -> dict[str, Any]:
        """The item as far as it has come."""
        ...

    def opened(self) -> Iterator[Wire]:
        """What follows output_item.added."""
        ...

    def grown(self, delta: TextDelta) -> Iterator[Wire]:
        """More text."""
        ...

    def closed(self) -> Iterator[Wire]:
        """What comes before output_item.done."""
        ...


class ReasoningItem:
    """A thought. `has_summary`: it is given a second time, as its own summary, for clients that read nothing else."""

    def __init__(self, *, has_summary: bool) -> None:
        self.id = new_id("rs")
        self._has_summary = has_summary
        self._text = ""

    def json(self, status: str) -> dict[str, Any]:
        """See OutputItem."""
        begun = bool(self._text) or status != "in_progress"
        return {
            "id": self.id,
            "type": "reasoning",
            "summary": [self._summary] if self._has_summary and begun else [],
            "content": [self._part] if begun else [],
            "encrypted_content": None,
            "status": status,
        }

    def opened(self) -> Iterator[Wire]:
        """See OutputItem."""
        yield "response.content_part.added", {**self._place, "part": self._part}
        if self._has_summary:
            yield "response.reasoning_summary_part.added", {**self._summary_place, "part": self._summary}

    def grown(self, delta: TextDelta) -> Iterator[Wire]:
        """See OutputItem."""
        self._text += delta.text
        yield "response.reasoning_text.delta", {**self._place, "delta": delta.text}
        if self._has_summary:
            yield "response.reasoning_summary_text.delta", {**self._summary_place, "delta": delta.text}

    def closed(self) -> Iterator[Wire]:
        """See OutputItem."""
        yield "response.reasoning_text.done", {**self._place, "text": self._text}
        yield "response.content_part.done", {**self._place, "part": self._part}
        if self._has_summary:
            yield "response.reasoning_summary_text.done", {**self._summary_place, "text": self._text}
            yield "response.reasoning_summary_part.done", {**self._summary_place, "part": self._summary}

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "content_index": 0}

    @property
    def _summary_place(self) -> dict[str, Any]:
        return {"item_id": self.id, "summary_index": 0}

    @property
    def _part(self) -> dict[str, Any]:
        return {"type": "reasoning_text", "text": self._text}

    @property
    def _summary(self) -> dict[str, Any]:
        return {"type": "summary_text", "text": self._text}


class MessageItem:
    """What the model says to the user: the answer, or something on its way."""

    def __init__(self, start: MessageStart) -> None:
        self.id = new_id("msg")
        self._phase = "final_answer" if start.channel == "final" else "commentary"
        self._text = ""
        self._logprobs: list[dict[str, Any]] = []

    def json(self, status: str) -> dict[str, Any]:
        """See OutputItem."""
        begun = bool(self._text) or status != "in_progress"
        content = [self._part] if begun else []
        fields = {"id": self.id, "type": "message", "role": "assistant", "status": status, "content": content}
        return {**fields, "phase": self._phase}

    def opened(self) -> Iterator[Wire]:
        """See OutputItem."""
        yield "response.content_part.added", {**self._place, "part": self._part}

    def grown(self, delta: TextDelta) -> Iterator[Wire]:
        """See OutputItem."""
        self._text += delta.text
        logprobs = logprobs_json(delta.logprobs)
        self._logprobs += logprobs
        yield "response.output_text.delta", {**self._place, "delta": delta.text, "logprobs": logprobs}

    def closed(self) -> Iterator[Wire]:
        """See OutputItem."""
        yield "response.output_text.done", {**self._place, "text": self._text, "logprobs": self._logprobs}
        yield "response.content_part.done", {**self._place, "part": self._part}

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self.id, "content_index": 0}

    @property
    def _part(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self._text, "annotations": [], "logprobs": [*self._logprobs]}


class CallItem:
    """A call of one of the client's functions."""

    def __init__(self, tool: CalledTool) -> None:
        self.id, self.call_id = new_id("fc"), new_id("call")
        self._tool = tool
        self._arguments = ""

    def json(self, status: str) -> dict[str, Any]:
        """See OutputItem."""
        fields = {"id": self.id, "type": "function_call", "call_id": self.call_id, "name": self._tool.name}
        space = {} if self._tool.namespace is None else {"namespace": self._tool.namespace}
        return {**fields, **space, "arguments": self._arguments, "status": status}

    def opened(self) -> Iterator[Wire]:
        """See OutputItem."""
        yield from ()

    def grown(self, delta: TextDelta) -> Iterator[Wire]:
        """See OutputItem."""
        self._arguments += delta.text
        yield "response.function_call_arguments.delta", {"item_id": self.id, "delta": delta.text}

    def closed(self) -> Iterator[Wire]:
        """See OutputItem."""
        fields = {"item_id": self.id, "name": self._tool.name, "arguments": self._arguments}
        yield "response.function_call_arguments.done", fields


class CustomCallItem:
    """A call of one of the client's custom tools. The model writes an object around the text, so it comes last."""

    def __init__(self, tool: CalledTool) -> None:
        self.id, self.call_id = new_id("ctc"), new_id("call")
        self._tool = tool
        self._written = ""
        self._input = ""

    def json(self, status: str) -> dict[str, Any]:
        """See OutputItem."""
        fields = {"id": self.id, "type": "custom_tool_call", "call_id": self.call_id, "name": self._tool.name}
        return {**fields, "input": self._input, "status": status}

    def opened(self) -> Iterator[Wire]:
        """See OutputItem."""
        yield from ()

    def grown(self, delta: TextDelta) -> Iterator[Wire]:
        """See OutputItem."""
        self._written += delta.text
        yield from ()

    def closed(self) -> Iterator[Wire]:
        """See OutputItem."""
        self._input = custom_input(self._written)
        if self._input:
            yield "response.custom_tool_call_input.delta", {"item_id": self.id, "delta": self._input}
        yield "response.custom_tool_call_input.done", {"item_id": self.id, "input": self._input}


def custom_input(arguments: str) -> str:
    """The text of a custom tool's call: in its object, or, where the model has written none, all of it."""
    try:
        value = parse_json(arguments.encode("utf-8", "replace"))
    except ValueError:
        return arguments
    inner = value.get(CUSTOM_INPUT, value) if isinstance(value, dict) else arguments
    return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
