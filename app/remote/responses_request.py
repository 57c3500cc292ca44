"""A request of the chat's as one of OpenAI's Responses API."""

from collections.abc import Sequence
from typing import Any

from app.engine.engine import EngineError
from app.remote.function_names import FunctionNames
from mlx_model.harmony.history import drop_old_analysis
from mlx_model.harmony.message import Message, Role
from mlx_model.options import Options
from mlx_model.request import Request

_HEADING = "# Instructions\n\n"
_SAMPLING = ("top_k", "min_p", "repetition_penalty", "seed", "stop")
"""Options that OpenAI's own API doesn't have, and others' servers do: they go out where they are set."""


class CallIds:
    """The ids that a server has given to calls, for when the conversation comes back."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[str]] = {}

    def keep(self, call: Message, id: str) -> None:
        """The id of a call of the model's."""
        ids = self._known.setdefault((call.recipient or "", call.text), [])
        if id not in ids:
            ids.append(id)

    def of(self, messages: Sequence[Message]) -> dict[int, str]:
        """The ids of the calls of a conversation, by their places in it; each is given once. What nobody has named, as
        after a restart, is named by its place."""
        used = dict[tuple[str, str], int]()
        found = dict[int, str]()
        for place, message in enumerate(messages):
            if message.role is Role.ASSISTANT and message.calls_tool:
                key = message.recipient or "", message.text
                known, at = self._known.get(key, []), used.get(key, 0)
                used[key] = at + 1
                found[place] = known[at] if at < len(known) else f"call_{place}"
        return found


def body_of(request: Request, model: str, names: FunctionNames, ids: CallIds) -> dict[str, Any]:
    """The body. Raises EngineError for what the API has no words for."""
    messages = drop_old_analysis(request.messages)
    if messages and messages[-1].role is Role.ASSISTANT:
        raise EngineError(
            "this server can't go on inside an answer that was cut off; ask for another, or say how to go on"
        )
    instructions = [request.instructions or ""]
    while messages and messages[0].role is Role.SYSTEM:
        instructions.append(messages.pop(0).text)
    body: dict[str, Any] = {
        "model": model,
        "input": _items(messages, names, ids),
        "stream": True,
        "store": False,
        **_sampling(request.options),
    }
    if text := "\n\n".join(filter(None, instructions)):
        body["instructions"] = text
    if names.tools:
        body |= {"tools": names.tools, "tool_choice": _choice(request, names), "parallel_tool_calls": False}
    if form := _form(request):
        body["text"] = {"format": form}
    return body


def _sampling(options: Options) -> dict[str, Any]:
    default = Options()
    fields: dict[str, Any] = {"reasoning": {"effort": options.effort.value}}
    fields |= {"temperature": options.temperature, "top_p": options.top_p}
    if options.max_tokens is not None:
        fields["max_output_tokens"] = options.max_tokens
    extra = ((name, getattr(options, name)) for name in _SAMPLING)
    return fields | {name: value for name, value in extra if value != getattr(default, name)}


def _choice(request: Request, names: FunctionNames) -> Any:
    choice = request.tool_choice
    if choice in ("auto", "none", "required"):
        return choice
    full = choice if "." in choice else f"functions.{choice}"
    return {"type": "function", "name": names.call(full, "")[0]}


def _form(request: Request) -> dict[str, Any] | None:
    form, shown = request.form, request.response_format
    if form is not None and form.schema is None:
        raise EngineError("this server binds answers to JSON schemas alone, not to a grammar or a regular expression")
    schema = form.schema if form is not None else shown.schema if shown is not None else None
    if schema is None:
        return None
    name = shown.name if shown is not None else "answer"
    strict = form is not None and form.strict
    return {"type": "json_schema", "name": name, "schema": dict(schema), "strict": strict}


def _items(messages: Sequence[Message], names: FunctionNames, ids: CallIds) -> list[dict[str, Any]]:
    """The conversation. A call without its result is left out: no server takes one."""
    items: list[dict[str, Any]] = []
    call_ids = ids.of(messages)
    for place, message in enumerate(messages):
        following = messages[place + 1] if place + 1 < len(messages) else None
        if place in call_ids:
            if following is not None and following.role is Role.TOOL:
                name, arguments = names.call(message.recipient or "", message.text)
                call = {"call_id": call_ids[place], "name": name, "arguments": arguments}
                items += [{"type": "function_call", **call}, _result(call_ids[place], following)]
        elif message.role is not Role.TOOL:
            items.append(_item(message, place))
    return items


def _result(id: str, message: Message) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": message.text}


def _item(message: Message, place: int) -> dict[str, Any]:
    text = message.text
    if message.role is not Role.ASSISTANT:
        role = "user" if message.role is Role.USER else "developer"
        content = [{"type": "input_text", "text": text.removeprefix(_HEADING) if role == "developer" else text}]
        return {"type": "message", "role": role, "content": content}
    if message.channel == "analysis":
        content = [{"type": "reasoning_text", "text": text}]
        return {"type": "reasoning", "id": f"rs_{place}", "summary": [], "content": content}
    phase = "commentary" if message.channel == "commentary" else "final_answer"
    said = [{"type": "output_text", "text": text, "annotations": []}]
    fields = {"id": f"msg_{place}", "status": "completed", "phase": phase}
    return {"type": "message", "role": "assistant", "content": said, **fields}
