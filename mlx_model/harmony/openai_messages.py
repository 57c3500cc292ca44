"""Conversations in the form of OpenAI's chat completions, as other programs keep them, to Harmony messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import CONSTRAIN, Message, Role, assistant, system, user
from mlx_model.harmony.prompt import developer_message
from mlx_model.harmony.tools import FUNCTIONS

_KEYS = {
    "system": {"name"},
    "developer": {"name"},
    "user": {"name"},
    "assistant": {"name", "reasoning", "reasoning_content", "tool_calls"},
    "tool": {"name", "tool_call_id"},
}
"""What a message may have besides role and content. The model does not see names."""

_TEXT_PARTS = ("text", "input_text", "output_text")


def read_messages(items: Sequence[Mapping[str, Any] | Message]) -> list[Message]:
    """The Harmony messages of a conversation; those that are Messages already stay as they are.

    System and developer texts at the front become messages of Role.SYSTEM, later ones developer messages in their
    place. An assistant's reasoning becomes its analysis, and its content the final message, or, in front of tool calls,
    commentary. Each call is followed directly by its result, since Harmony knows no calls side by side. What says
    nothing (None, an empty list) is passed over. Raises RequestError, which names the index and the key, for everything
    else that is not understood.
    """
    messages: list[Message] = []
    at = 0
    while at < len(items):
        item = items[at]
        read = [item] if isinstance(item, Message) else None
        at += 1
        if read is None:
            fields = _Fields(item, f"messages[{at - 1}]")
            results = []
            while fields.role == "assistant" and at < len(items) and _is_result(items[at]):
                results.append(_Fields(items[at], f"messages[{at}]"))
                at += 1
            read = list(_converted(fields, results, opening=all(m.role is Role.SYSTEM for m in messages)))
        messages += read
    return messages


class _Fields:
    """One message of a conversation; its errors name its place and the key."""

    def __init__(self, item: object, place: str) -> None:
        self.place = place
        if not isinstance(item, Mapping):
            raise self.error("", f"is {_kind(item)}; it must be a Message or an object with role and content")
        self._item = item
        self.role = item.get("role")
        if self.role not in _KEYS:
            raise self.error("role", f"is {self.role!r}; it must be one of {', '.join(_KEYS)}")
        for key, value in item.items():
            if key not in {"role", "content", *_KEYS[self.role]} and value not in (None, [], "", {}):
                raise self.error(str(key), f"is not known in a message of the role {self.role}")

    def error(self, key: str, text: str) -> RequestError:
        return RequestError(f"{self.place}{key and f'.{key}'} {text}")

    def get(self, key: str) -> Any:
        return self._item.get(key)

    def text(self, key: str, *, required: bool = False) -> str:
        """A text, or a list of text parts; "" for None unless it is required."""
        value = self._item.get(key)
        if isinstance(value, str):
            return value
        if value is None and not required:
            return ""
        if not isinstance(value, list | tuple):
            raise self.error(key, f"is {_kind(value)}; it must be a text or a list of text parts")
        return "".join(self._part(part, f"{key}[{at}]") for at, part in enumerate(value))

    def _part(self, part: object, key: str) -> str:
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("text") if isinstance(part, Mapping) else None
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            what = f"a part of type {kind!r}" if kind is not None and kind not in _TEXT_PARTS else _kind(part)
            raise self.error(key, f"is {what}; gpt-oss reads text parts only")
        return text


def _converted(fields: _Fields, results: list[_Fields], *, opening: bool) -> Iterator[Message]:
    match fields.role:
        case "user":
            yield user(fields.text("content", required=True))
        case "system" | "developer":
            text = fields.text("content", required=True)
            yield system(text) if opening else developer_message(text)
        case "assistant":
            yield from _answer(fields, results)
        case _:
            raise fields.error("role", "is tool, but no message with tool_calls stands before it")


def _answer(fields: _Fields, results: list[_Fields]) -> Iterator[Message]:
    """The messages of one assistant's turn, with the results of its calls."""
    calls = [*_calls(fields)]
    if reasoning := fields.text("reasoning") or fields.text("reasoning_content"):
        yield assistant(reasoning, "analysis")
    if content := fields.text("content"):
        yield assistant(content, "commentary" if calls else "final")
    elif not (reasoning or calls):
        raise fields.error("content", "is empty, and there are no reasoning and tool_calls either")
    waiting = [*calls]
    found: dict[str, Message] = {}
    for result in results:
        call_id = result.get("tool_call_id")
        chosen = next((call for call in waiting if call_id is None or call[0] == call_id), None)
        if chosen is None:
            raise result.error("tool_call_id", f"is {call_id!r}, but no call that waits for a result has this id")
        waiting.remove(chosen)
        found[chosen[0]] = chosen[1].result(result.text("content", required=True))
    if waiting:
        raise fields.error(
            "tool_calls", f"has a call, {waiting[0][0]!r}, without its result in a message of the role tool"
        )
    for call_id, call in calls:
        yield Message(Role.ASSISTANT, call.text, None, call.channel, call.name, f"{CONSTRAIN}json")
        yield found[call_id]


def _calls(fields: _Fields) -> Iterator[tuple[str, ToolCall]]:
    """The calls of a message by their ids; a call without one gets its place for an id."""
    calls = fields.get("tool_calls") or []
    if not isinstance(calls, list | tuple):
        raise fields.error("tool_calls", f"is {_kind(calls)}; it must be a list")
    seen: set[str] = set()
    for at, call in enumerate(calls):
        key = f"tool_calls[{at}]"
        function = call.get("function") if isinstance(call, Mapping) else None
        if (
            not isinstance(call, Mapping)
            or call.get("type", "function") != "function"
            or not isinstance(function, Mapping)
        ):
            raise fields.error(
                key, 'must be {"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}'
            )
        name, arguments = function.get("name"), function.get("arguments", "")
        if not isinstance(name, str) or not name:
            raise fields.error(f"{key}.function.name", f"is {name!r}; it must be the name of a function")
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        if not isinstance(arguments, str):
            raise fields.error(f"{key}.function.arguments", f"is {_kind(arguments)}; it must be a JSON text")
        call_id = call.get("id") or key
        if not isinstance(call_id, str) or call_id in seen:
            raise fields.error(f"{key}.id", f"is {call_id!r}; each call needs a text of its own")
        seen.add(call_id)
        yield call_id, ToolCall(f"{FUNCTIONS}.{name}", arguments)


def _is_result(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("role") == "tool"


def _kind(value: object) -> str:
    return "missing" if value is None else f"of the type {type(value).__name__}"
