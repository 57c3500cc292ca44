"""A request of the Chat Completions API, as what the engine is asked."""

from collections.abc import Collection
from dataclasses import dataclass

from app.server.declared import Declared, Reading, read_choice
from app.server.errors import ApiError
from app.server.fields import Fields
from app.server.sampling import read_format, read_options
from app.server.thoughts import Thoughts
from mlx_model.errors import RequestError
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.openai_messages import ConversationError, read_messages
from mlx_model.request import Request

MOST_CHOICES = 16
"""Answers to one request, which come one after the other."""

_REFUSED = {
    "functions": "is no longer supported; use tools",
    "function_call": "is no longer supported; use tool_choice",
    "audio": "is not supported; gpt-oss writes text alone",
}
_UNTIL_BUILT = ("presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class AskedChat:
    """A request that has been read. `choices` is how many answers are wanted."""

    request: Request
    declared: Declared
    model: str
    choices: int = 1
    is_streamed: bool = False
    has_usage: bool = False

    @property
    def places(self) -> dict[str, str]:
        """Where what an engine may refuse stands in the request."""
        form = "response_format.json_schema.schema"
        return {"messages": "messages", "form": form, **self.declared.places}


def read_chat(value: object, thoughts: Thoughts, offered: Collection[str] = ()) -> AskedChat:
    """Reads a request; `offered` are the server's own tools that its owner allows. Raises ApiError."""
    body = Fields(value)
    for key, what in _REFUSED.items():
        if key in body:
            raise body.error(key, what)
    for key in _UNTIL_BUILT:
        if body.number(key):
            raise body.error(key, "is not supported; repetition_penalty is")
    if body.inner_or_empty("logit_bias").object():
        raise body.error("logit_bias", "is not supported")
    if any(kind != "text" for kind in body.texts("modalities")):
        raise body.error("modalities", "has more than text; gpt-oss writes text alone")
    most_tokens = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    logprobs = body.flag("logprobs")
    if body.integer("top_logprobs") and not logprobs:
        raise body.error("top_logprobs", "needs logprobs to be true")
    options = read_options(body, effort=_effort(body), most_tokens=most_tokens, logprobs=logprobs)
    choices = 1 if "n" not in body else body.integer("n") or 0
    if not 1 <= choices <= MOST_CHOICES:
        raise body.error("n", f"is {choices}; it must be from 1 to {MOST_CHOICES}")
    shown, form = read_format(body, "response_format", nested=True)
    declared = _tools(body, offered)
    messages = _messages(body, thoughts)
    instructions = "\n\n".join(message.text for message in messages if message.role is Role.SYSTEM and message.text)
    request = Request(
        tuple(message for message in messages if message.role is not Role.SYSTEM),
        options,
        instructions or None,
        functions=declared.functions,
        response_format=shown,
        tool_choice=declared.choice,
        form=form,
    )
    streaming = body.inner_or_empty("stream_options")
    return AskedChat(
        request,
        declared,
        body.text("model", "gpt-oss"),
        choices,
        body.flag("stream"),
        streaming.flag("include_usage"),
    )


def _effort(body: Fields) -> tuple[Fields, str]:
    """Where the effort stands: clients have three places for it."""
    for key, inner in (("reasoning", "effort"), ("chat_template_kwargs", "reasoning_effort")):
        if "reasoning_effort" not in body and inner in (where := body.inner_or_empty(key)):
            return where, inner
    return body, "reasoning_effort"


def _tools(body: Fields, offered: Collection[str]) -> Declared:
    tools = Reading(offered)
    for tool in body.inners("tools"):
        kind = tool.text("type", "function")
        if kind == "function":
            tools.add_function(_inner(tool, "function"))
        elif kind == "custom":
            tools.add_custom(_inner(tool, "custom"))
        else:
            tools.add(tool)
    if "web_search_options" in body:
        tools.add(Fields({"type": "web_search"}))
    return read_choice(body, "tool_choice", tools)


def _inner(tool: Fields, key: str) -> Fields:
    inner = tool.inner(key)
    if inner is None:
        raise tool.error(key, "is missing")
    return inner


def _messages(body: Fields, thoughts: Thoughts) -> list[Message]:
    """The conversation. Raises ApiError, also if there is nothing to answer."""
    try:
        messages = read_messages(body.items("messages"), lenient=True, recall=thoughts.restoring().add_call)
    except ConversationError as error:
        raise ApiError(str(error), error.place) from None
    except RequestError as error:
        raise ApiError(str(error), "messages") from None
    if not any(message.role is not Role.SYSTEM for message in messages):
        raise body.error("messages", "has nothing to answer")
    if messages[-1].role is Role.USER and not messages[-1].text.strip():
        raise body.error(f"messages[{len(body.items('messages')) - 1}].content", "is empty")
    return messages
