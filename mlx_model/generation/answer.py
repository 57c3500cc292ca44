"""One answer for a script: `generate` and `stream_generate`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any, Literal, TypedDict, Unpack

from mlx_model.errors import RequestError
from mlx_model.events import Event, Finished, Stats
from mlx_model.generation.session import Session
from mlx_model.harmony.fold import fold
from mlx_model.harmony.message import Effort, Message, Role, user
from mlx_model.harmony.openai_messages import read_messages
from mlx_model.harmony.tools import FunctionTool, ResponseFormat
from mlx_model.model import Model
from mlx_model.options import Options
from mlx_model.request import Request

Prompt = str | Message | Sequence[Message | Mapping[str, Any]]
"""A question, or a conversation whose last message is answered: Messages, or objects as OpenAI's API has them."""


class Keywords(TypedDict, total=False):
    """The keywords of `generate` and `stream_generate`; what is left out has the default of Options and Request."""

    effort: Effort | Literal["low", "medium", "high"]
    max_tokens: int | None
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    seed: int | None
    stop: str | Sequence[str]
    max_thinking: int | None
    instructions: str | None
    tools: Sequence[str]
    functions: Sequence[FunctionTool]
    response_format: ResponseFormat | None


@dataclass(frozen=True, slots=True)
class Result:
    """One answer. `text` is what is meant for the user, `analysis` the chain of thought, `tokens` the sampled ids.

    `commentary` is what the model said to the user on its way, before a tool call, or by mistake in place of an answer.
    `finish_reason` is "stop", "no_answer", "tool_call", "length" or "stop_string" (see events.Finished). Only after
    "stop" there certainly is a `text`. Cut off while thinking, an answer has none: analysis is never passed off as the
    answer.
    """

    text: str
    analysis: str
    messages: tuple[Message, ...]
    tokens: tuple[int, ...]
    finish_reason: str
    stats: Stats
    commentary: str = ""


def stream_generate(model: Model, prompt: Prompt, **keywords: Unpack[Keywords]) -> Iterator[Event]:
    """Answers one prompt or conversation event by event; the last is Finished. Parameters as for `generate`."""
    return Session(model).stream(make_request(prompt, keywords))


def generate(model: Model, prompt: Prompt, **keywords: Unpack[Keywords]) -> Result:
    """Answers one prompt or conversation. For several turns keep a `Session`: it reuses what the last turn computed.

    `prompt`: a question; a Message; or a conversation of Messages, `user("...")`, or of objects as in OpenAI's API,
    {"role": "user", "content": "..."}. System and developer messages at its front become the instructions.

    Keywords, all optional:
    effort               how long to think: "low", "medium" (default) or "high"
    max_tokens           tokens of the answer at most, analysis included (default: until the context is full)
    temperature          0 is greedy, 1.0 the default
    top_p, top_k, min_p  which tokens may be drawn (default: all)
    repetition_penalty   above 1, tokens that are in the context already become less likely
    seed                 equal seeds give equal answers (default: one is drawn; Result.stats has it)
    max_thinking         tokens of analysis at most; the thought then ends and the answer begins (default: no limit)
    stop                 a text, or several, that end the answer where they appear in it
    instructions         the developer message
    tools                builtin tools that the model may call, "python" or "browser"; the caller runs them
    functions            the caller's own functions (FunctionTool) that the model may call
    response_format      a JSON schema (ResponseFormat) that is shown to the model; it is not bound by it

    Raises RequestError for a prompt or a value that can't be used, ContextError for a prompt that is too long,
    TokenizerError for a model without tokenizer, TypeError for another keyword.
    """
    session = Session(model)
    return collect(session.stream(make_request(prompt, keywords)), session)


def make_request(prompt: Prompt, keywords: Keywords) -> Request:
    """The request of a prompt and keywords. Raises RequestError, and TypeError for an unknown keyword."""
    named = {field.name for field in fields(Options)}
    messages = [user(prompt)] if isinstance(prompt, str) else _messages(prompt)
    opening = list(takewhile(lambda message: message.role in (Role.SYSTEM, Role.DEVELOPER), messages))
    rest: dict[str, Any] = {key: value for key, value in keywords.items() if key not in named}
    if opening:
        if rest.get("instructions"):
            raise RequestError(
                "there are instructions and a system message at the front of the prompt; give one of them"
            )
        rest["instructions"] = "\n\n".join(message.text for message in opening)
    options: dict[str, Any] = {key: value for key, value in keywords.items() if key in named}
    return Request(messages[len(opening) :], Options(**options), **rest)


def _messages(prompt: Message | Sequence[Message | Mapping[str, Any]]) -> list[Message]:
    if isinstance(prompt, Message):
        return [prompt]
    if isinstance(prompt, bytes | Mapping) or not isinstance(prompt, Sequence):
        raise RequestError(
            f"the prompt is of the type {type(prompt).__name__}; it must be a text or a list of messages"
        )
    return read_messages(prompt)


def collect(events: Iterator[Event], session: Session) -> Result:
    """Runs an answer of `session` to its end."""
    turn = fold(events)
    finished = turn.finished or Finished("cancelled")
    return Result(
        text=turn.text,
        analysis=turn.analysis,
        messages=tuple(turn.messages),
        tokens=tuple(session.tokens),
        finish_reason=finished.reason,
        stats=finished.stats,
        commentary=turn.on("commentary"),
    )


def stats_json(model: Model, stats: Stats) -> dict[str, Any]:
    """The figures of one answer and of its model: seconds, tokens, tokens a second, bytes."""
    return {"load_s": model.load_s, "resident_bytes": model.resident_bytes, **stats.to_json()}
