"""The input of a response, a text or items, as the messages of a conversation."""

import json
from collections.abc import Sequence
from typing import Any

from app.server.errors import ApiError
from app.server.fields import Fields, kind_of, text_of_parts
from app.server.stored import Stored
from app.server.thoughts import Thoughts
from mlx_model.harmony.message import CONSTRAIN, Message, Role, assistant, system, user
from mlx_model.harmony.openai_messages import CUSTOM_INPUT
from mlx_model.harmony.prompt import developer_message
from mlx_model.harmony.tools import FUNCTIONS

_CALLS = ("function_call", "custom_tool_call")
_RESULTS = ("function_call_output", "custom_tool_call_output")
_TEXTS = ("input_text", "output_text", "text")


def read_input(
    body: Fields, thoughts: Thoughts, stored: Stored, before: Sequence[Message] = (), open_call: str | None = None
) -> list[Message]:
    """The messages of a request's `input` behind those `before`; `open_call` is the id of the call that these end with.

    Instructions at the front are messages of Role.SYSTEM. Each call is followed by its result, since Harmony knows no
    calls side by side. Items of types that the model has no use for are passed over. Raises ApiError.
    """
    value = body.get("input")
    if isinstance(value, str):
        value = [{"role": "user", "content": value}] if value.strip() else []
    if not isinstance(value, list | None):
        raise body.error("input", f"must be a text or a list of items, not {kind_of(value)}")
    items = [_resolved(Fields(item, f"input[{index}]"), stored) for index, item in enumerate(value or [])]
    return _Conversation(items, thoughts, before, open_call).messages


def _resolved(item: Fields, stored: Stored) -> Fields:
    """The item, or the one that it refers to."""
    if item.text("type") != "item_reference":
        return item
    return Fields(stored.item(item.name("id"), item.at("id")), item.path)


class _Conversation:
    def __init__(
        self, items: Sequence[Fields], thoughts: Thoughts, before: Sequence[Message], open_call: str | None
    ) -> None:
        self.messages = list(before)
        self._restoring = thoughts.restoring()
        self._results = {item.text("call_id"): item for item in items if item.text("type") in _RESULTS}
        if open_call is not None:
            self._take_result(open_call, _called(before[-1]), ApiError(_unanswered("input", open_call), "input"))
        for item, before_call in zip(items, _before_calls(items), strict=True):
            self._add(item, before_call=before_call)
        for item in self._results.values():
            raise item.error("call_id", f"is {item.text('call_id')[:80]!r}, but no call that waits for a result has it")

    def _add(self, item: Fields, *, before_call: bool) -> None:
        match item.text("type", "message"):
            case "message":
                self._add_message(item, before_call=before_call)
            case "reasoning":
                if text := _reasoning(item):
                    self.messages.append(assistant(text, "analysis"))
            case "function_call":
                self._add_call(item, item.text("arguments"))
            case "custom_tool_call":
                self._add_call(item, json.dumps({CUSTOM_INPUT: item.text("input")}, ensure_ascii=False))

    def _add_message(self, item: Fields, *, before_call: bool) -> None:
        role = item.choice("role", ("user", "assistant", "system", "developer"), "")
        text = text_of_parts(item, "content", _TEXTS)
        if role == "user":
            self.messages.append(user(text))
        elif role == "assistant":
            phase = item.text("phase", "commentary" if before_call else "final_answer")
            if text:
                self.messages.append(assistant(text, "commentary" if phase == "commentary" else "final"))
        elif not self.messages or self.messages[-1].role is Role.SYSTEM:
            self.messages.append(system(text))
        else:
            self.messages.append(developer_message(text))

    def _add_call(self, item: Fields, arguments: str) -> None:
        id, space = item.name("call_id"), item.text("namespace") or FUNCTIONS
        recipient = f"{space}.{item.name('name')}"
        call = Message(Role.ASSISTANT, arguments, None, "commentary", recipient, f"{CONSTRAIN}json")
        self._restoring.add_call(id, self.messages, call)
        self._take_result(id, recipient, item.error("call_id", _unanswered("", id)))

    def _take_result(self, id: str, recipient: str, missing: ApiError) -> None:
        result = self._results.pop(id, None)
        if result is None:
            raise missing
        text = text_of_parts(result, "output", _TEXTS)
        self.messages.append(Message(Role.TOOL, text, recipient, "commentary", "assistant"))


def _before_calls(items: Sequence[Fields]) -> list[bool]:
    """Of each item, whether a call follows, though behind thoughts."""
    answers, follows = list[bool](), False
    for item in reversed(items):
        answers.append(follows)
        if (kind := item.text("type")) != "reasoning":
            follows = kind in _CALLS
    return answers[::-1]


def _unanswered(where: str, id: str) -> str:
    return f"{where} has no output for the call {id[:80]!r}".strip()


def _called(call: Message) -> str:
    recipient = call.recipient or ""
    return recipient if "." in recipient else f"{FUNCTIONS}.{recipient}"


def _reasoning(item: Fields) -> str:
    """The thought: its texts, or what a client keeps of them, the summary."""
    texts = [
        part.text("text")
        for key in ("content", "summary")
        if not (key == "summary" and _has(item, "content"))
        for part in item.inners(key)
    ]
    return "".join(texts)


def _has(item: Fields, key: str) -> bool:
    return bool(item.items(key))


def as_items(value: Any) -> list[Any]:
    """The input as a list of items, for who asks for it later."""
    if isinstance(value, str):
        content = [{"type": "input_text", "text": value}]
        return [{"type": "message", "role": "user", "content": content}] if value else []
    return list(value or [])
