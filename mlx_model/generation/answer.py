"""One answer for a script: `generate` and `stream_generate`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_model.events import Event, Finished, Stats
from mlx_model.generation.session import Session
from mlx_model.harmony.fold import fold
from mlx_model.harmony.message import Message, user
from mlx_model.harmony.tools import FunctionTool
from mlx_model.model import Model
from mlx_model.options import Options
from mlx_model.request import Request


@dataclass(frozen=True, slots=True)
class Result:
    """One answer. `text` is what is meant for the user, `analysis` the chain of thought, `tokens` the sampled ids.

    `finish_reason` is "stop", "tool_call", "length" or "stop_string" (see events.Finished). Cut off while thinking, an
    answer has an empty `text`: analysis is never passed off as the answer.
    """

    text: str
    analysis: str
    messages: tuple[Message, ...]
    tokens: tuple[int, ...]
    finish_reason: str
    stats: Stats


def stream_generate(
    model: Model,
    prompt: str | Sequence[Message],
    *,
    instructions: str | None = None,
    tools: Sequence[str] = (),
    functions: Sequence[FunctionTool] = (),
    **options: Any,
) -> Iterator[Event]:
    """Answers one prompt or conversation event by event; the last is Finished. Parameters as for `generate`."""
    messages = [user(prompt)] if isinstance(prompt, str) else list(prompt)
    request = Request(messages, Options(**options), instructions, tools, functions)
    return Session(model).stream(request)


def generate(
    model: Model,
    prompt: str | Sequence[Message],
    *,
    instructions: str | None = None,
    tools: Sequence[str] = (),
    functions: Sequence[FunctionTool] = (),
    **options: Any,
) -> Result:
    """Answers one prompt or conversation.

    `instructions` becomes the developer message; `tools` names builtin tools the model may call ("python", "browser"),
    `functions` are the caller's own, and the caller runs both; the other keywords are the fields of `Options`: effort,
    max_tokens, temperature, top_p, top_k, min_p, repetition_penalty, seed, stop. Raises RequestError, ContextError or
    TokenizerError. For several turns keep a `Session`: it reuses what the last turn computed.
    """
    messages = [user(prompt)] if isinstance(prompt, str) else list(prompt)
    request = Request(messages, Options(**options), instructions, tools, functions)
    session = Session(model)
    return collect(session.stream(request), session)


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
    )


def stats_json(model: Model, stats: Stats) -> dict[str, Any]:
    """The figures of one answer and of its model: seconds, tokens, tokens a second, bytes."""
    return {"load_s": model.load_s, "resident_bytes": model.resident_bytes, **stats.to_json()}
