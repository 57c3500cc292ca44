"""A request of the Responses API, as what the engine is asked."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from app.server.declared import Declared, Reading, read_choice
from app.server.fields import Fields
from app.server.responses.items import as_items, read_input
from app.server.sampling import read_format, read_options
from app.server.stored import Stored
from app.server.thoughts import Thoughts
from mlx_model.harmony.message import Message, Role
from mlx_model.request import Request

LOGPROBS = "message.output_text.logprobs"
"""What `include` asks for."""

_REFUSED = {
    "conversation": "is not supported; use previous_response_id, or send the items again",
    "prompt": "is not supported; send the instructions themselves",
}
_NO_LONGER_KNOWN = "previous_response_not_found"


@dataclass(frozen=True, slots=True)
class AskedResponse:
    """A request that has been read. `echo` are fields of the response that repeat it.

    `messages` is the conversation with instructions that came as items, for who goes on from the response.
    `is_empty`: there is nothing to answer, as in the request with which Codex warms a server up.
    """

    request: Request
    declared: Declared
    messages: tuple[Message, ...]
    input: list[Any]
    is_streamed: bool = False
    is_stored: bool = True
    wants_summary: bool = False
    echo: dict[str, Any] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, str]:
        """Where what an engine may refuse stands in the request."""
        return {"messages": "input", "form": "text.format.schema", **self.declared.places}

    @property
    def is_empty(self) -> bool:
        """See above."""
        messages = self.request.messages
        return not messages or (messages[-1].role is Role.USER and not messages[-1].text.strip())


def read_response(value: object, thoughts: Thoughts, stored: Stored, offered: Collection[str] = ()) -> AskedResponse:
    """Reads a request; `offered` are the server's own tools that its owner allows. Raises ApiError."""
    body = Fields(value)
    model = body.text("model", "gpt-oss")
    for key, what in _REFUSED.items():
        if key in body:
            raise body.error(key, what)
    if body.flag("background"):
        raise body.error("background", "is not supported; leave the connection open, with stream")
    if body.choice("truncation", ("disabled", "auto"), "disabled") == "auto":
        raise body.error("truncation", "is 'auto', but nothing is ever cut here; send fewer items")
    reasoning, text = body.inner_or_empty("reasoning"), body.inner_or_empty("text")
    logprobs = LOGPROBS in body.texts("include") or bool(body.integer("top_logprobs"))
    options = read_options(body, effort=(reasoning, "effort"), most_tokens="max_output_tokens", logprobs=logprobs)
    shown, form = read_format(text, "format", nested=False)
    tools = Reading(offered)
    for tool in body.inners("tools"):
        tools.add(tool)
    declared = read_choice(body, "tool_choice", tools)
    messages = _messages(body, thoughts, stored)
    opening = [message.text for message in messages if message.role is Role.SYSTEM]
    instructions = "\n\n".join(filter(None, [body.text("instructions"), *opening]))
    request = Request(
        tuple(message for message in messages if message.role is not Role.SYSTEM),
        options,
        instructions or None,
        functions=declared.functions,
        namespaces=declared.namespaces,
        response_format=shown,
        tool_choice=declared.choice,
        form=form,
    )
    echo = {
        "instructions": body.get("instructions"),
        "max_output_tokens": options.max_tokens,
        "metadata": body.inner_or_empty("metadata").object(),
        "model": model,
        "parallel_tool_calls": body.flag("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": reasoning.get("effort") or "medium", "summary": reasoning.get("summary")},
        "store": body.flag("store", True),
        "temperature": options.temperature,
        "text": {"format": text.get("format") or {"type": "text"}, **_verbosity(text)},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.items("tools"),
        "top_logprobs": options.logprobs or 0,
        "top_p": options.top_p,
        "truncation": "disabled",
    }
    return AskedResponse(
        request,
        declared,
        tuple(messages),
        as_items(body.get("input")),
        body.flag("stream"),
        body.flag("store", True),
        "summary" in reasoning,
        echo,
    )


def _messages(body: Fields, thoughts: Thoughts, stored: Stored) -> list[Message]:
    """The conversation: what the response before has left, then the input."""
    if "previous_response_id" not in body:
        return read_input(body, thoughts, stored)
    param = body.at("previous_response_id")
    previous = stored.get(body.name("previous_response_id"), param, _NO_LONGER_KNOWN)
    return read_input(body, thoughts, stored, previous.messages, previous.call_id)


def _verbosity(text: Fields) -> dict[str, str]:
    return {"verbosity": text.text("verbosity")} if "verbosity" in text else {}
