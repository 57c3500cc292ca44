"""Conversations in the form of OpenAI's chat completions, as other programs keep them, to Harmony messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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

CUSTOM_INPUT = "input"
"""The argument of a custom tool: the model calls it as a function of one text."""

Recall = Callable[[str, list[Message], Message], None]
"""Gets the id of a call, the conversation up to it, and the call. It adds the call to the conversation, where it may
put in again what the model thought before it."""


class ConversationError(RequestError):
    """A conversation that can't be read; `place` is where: "messages[3].content"."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(f"{place} {text}")
        self.place = place


def read_messages(
    items: Sequence[Mapping[str, Any] | Message], *, lenient: bool = False, recall: Recall | None = None
) -> list[Message]:
    """The Harmony messages of a conversation; those that are Messages already stay as they are.

    System and developer texts at the front become messages of Role.SYSTEM, later ones developer messages in their
    place. An assistant's reasoning becomes its analysis, and its content the final message, or, in front of tool calls,
    commentary. Each call is followed directly by its result, since Harmony knows no calls side by side. What says
    nothing (None, an empty list) is passed over. Raises RequestError, which names the index and the key, for everything
    else that is not understood.
    """
    messages: list[Message] = []
    at, opening = 0, True  # whether all messages so far are Role.SYSTEM
    while at < len(items):
        opening = opening and (not messages or messages[-1].role is Role.SYSTEM)
        item = items[at]
        at += 1
        if isinstance(item, Message):
            messages.append(item)
            continue
        fields = _Fields(item, f"messages[{at - 1}]", lenient)
        results = []
        while fields.role == "assistant" and at < len(items) and _is_result(items[at]):
            results.append(_Fields(items[at], f"messages[{at}]", lenient))
            at += 1
        if fields.role == "assistant":
            _add_answer(messages, fields, results, recall)
        else:
            messages.append(_converted(fields, opening=opening))
    return messages


class _Fields:
    """One message of a conversation; its errors name its place and the key."""

    def __init__(self, item: object, place: str, lenient: bool) -> None:
        self.place = place
        self.lenient = lenient
        if not isinstance(item, Mapping):
            raise self.error("", f"is {_kind(item)}; it must be a Message or an object with role and content")
        self._item = item
        self.role = item.get("role")
        if not isinstance(self.role, str) or self.role not in _KEYS:
            raise self.error("role", f"is {self.role!r}; it must be one of {', '.join(_KEYS)}")
        for key, value in () if lenient else item.items():
            if key not in {"role", "content", *_KEYS[self.role]} and value not in (None, [], "", {}):
                raise self.error(str(key), f"is not known in a message of the role {self.role}")

    def error(self, key: str, text: str) -> ConversationError:
        return ConversationError(f"{self.place}{key and f'.{key}'}", text)

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
        if kind == "refusal" and isinstance(part, Mapping) and isinstance(refusal := part.get("refusal"), str):
            return refusal
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            what = f"a part of type {kind!r}" if kind is not None and kind not in _TEXT_PARTS else _kind(part)
            raise self.error(key, f"is {what}; gpt-oss reads text parts only")
        return text


def _converted(fields: _Fields, *, opening: bool) -> Message:
    """A message that is not the model's."""
    match fields.role:
        case "user":
            return user(fields.text("content", required=True))
        case "system" | "developer":
            text = fields.text("content", required=True)
            return system(text) if opening else developer_message(text)
    raise fields.error("role", "is tool, but no message with tool_calls stands before it")


def _add_answer(messages: list[Message], fields: _Fields, results: list[_Fields], recall: Recall | None) -> None:
    """Adds the messages of one assistant's turn, with the results of its calls."""
    calls = [*_calls(fields)]
    if reasoning := fields.text("reasoning") or fields.text("reasoning_content"):
        messages.append(assistant(reasoning, "analysis"))
    if content := fields.text("content"):
        messages.append(assistant(content, "commentary" if calls else "final"))
    elif not (reasoning or calls or fields.lenient):
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
        message = Message(Role.ASSISTANT, call.text, None, call.channel, call.name, f"{CONSTRAIN}json")
        if recall is None:
            messages.append(message)
        else:
            recall(call_id, messages, message)
        messages.append(found[call_id])


def _calls(fields: _Fields) -> Iterator[tuple[str, ToolCall]]:
    """The calls of a message by their ids; a call without one gets its place for an id."""
    calls = fields.get("tool_calls") or []
    if not isinstance(calls, list | tuple):
        raise fields.error("tool_calls", f"is {_kind(calls)}; it must be a list")
    seen: set[str] = set()
    for at, call in enumerate(calls):
        key = f"tool_calls[{at}]"
        kind = call.get("type", "function") if isinstance(call, Mapping) else None
        function = call.get(kind) if isinstance(call, Mapping) and kind in ("function", "custom") else None
        if not isinstance(call, Mapping) or not isinstance(function, Mapping):
            raise fields.error(
                key, 'must be {"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}'
            )
        name, arguments = function.get("name"), function.get("arguments", "")
        if not isinstance(name, str) or not name:
            raise fields.error(f"{key}.{kind}.name", f"is {name!r}; it must be the name of a function")
        if kind == "custom":
            arguments = {CUSTOM_INPUT: function.get("input", "")}
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        if not isinstance(arguments, str):
            raise fields.error(f"{key}.{kind}.arguments", f"is {_kind(arguments)}; it must be a JSON text")
        call_id = call.get("id") or key
        if not isinstance(call_id, str) or call_id in seen:
            raise fields.error(f"{key}.id", f"is {call_id!r}; each call needs a text of its own")
        seen.add(call_id)
        yield call_id, ToolCall(f"{FUNCTIONS}.{name}", arguments)


def _is_result(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("role") == "tool"


def _kind(value: object) -> str:
    return "missing" if value is None else f"of the type {type(value).__name__}"
