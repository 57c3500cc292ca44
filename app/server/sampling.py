"""What both APIs say of how to answer: effort, length, sampling, stop strings; and the form of the answer."""

from collections.abc import Sequence
from typing import Any

from app.server.errors import renamed
from app.server.fields import Fields
from mlx_model.errors import RequestError
from mlx_model.events import Alternative, TokenLogprobs
from mlx_model.harmony.message import Effort
from mlx_model.harmony.tools import ResponseFormat
from mlx_model.options import Options
from mlx_model.request import Form

EFFORTS = {
    **dict.fromkeys(("none", "minimal", "low"), Effort.LOW),
    "medium": Effort.MEDIUM,
    **dict.fromkeys(("high", "xhigh", "max"), Effort.HIGH),
}
"""What clients call an effort, and which of the three of gpt-oss that is; it can't be asked to think not at all."""

MOST_STOPS = 4
"""Stop strings of one request, as OpenAI has it."""

_LEAST_LOGPROB = -9999.0
"""In place of minus infinity, which JSON hasn't."""
_LEAST_TOP_P = 1e-6
"""In place of 0, which OpenAI allows: the likeliest token alone."""


def read_options(body: Fields, *, effort: tuple[Fields, str], most_tokens: str, logprobs: bool) -> Options:
    """The options of a request; `effort` is where that stands, `most_tokens` the name of the longest answer. With
    `logprobs` they are asked for, with as many alternatives as `top_logprobs` says."""
    named: dict[str, tuple[str, Any]] = {}
    for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
        named[name] = name, body.number(name)
    named["top_k"] = "top_k", body.integer("top_k")
    named["max_tokens"] = most_tokens, body.integer(most_tokens)
    named["stop"] = "stop", _stops(body)
    named["logprobs"] = "top_logprobs", (body.integer("top_logprobs") or 0) if logprobs else None
    if (seed := body.integer("seed")) is not None:
        named["seed"] = "seed", seed % 2**64  # OpenAI's may be negative
    if named["top_p"][1] == 0:
        named["top_p"] = "top_p", _LEAST_TOP_P
    if (tokens := named["max_tokens"][1]) is not None:
        named["max_tokens"] = most_tokens, min(tokens, 2**31)
    for name, (key, value) in named.items():
        if value is not None:
            try:
                Options(**{name: value})
            except RequestError as error:
                raise renamed(error, body.at(key), {name: key}) from None
    where, key = effort
    values = {name: value for name, (_, value) in named.items() if value is not None}
    return Options(effort=EFFORTS[where.choice(key, EFFORTS, "medium")], **values)


def logprobs_json(entries: Sequence[TokenLogprobs]) -> list[dict[str, Any]]:
    """Tokens with their log probabilities, as both APIs write them."""
    return [{**_token(each.sampled), "top_logprobs": [*map(_token, each.top)]} for each in entries]


def _token(token: Alternative) -> dict[str, Any]:
    return {"token": token.text, "logprob": max(token.logprob, _LEAST_LOGPROB), "bytes": list(token.token)}


def _stops(body: Fields) -> tuple[str, ...]:
    value = body.get("stop")
    stops = [value] if isinstance(value, str) else body.texts("stop")
    if len(stops) > MOST_STOPS:
        raise body.error("stop", f"has {len(stops)} texts; there may be {MOST_STOPS}")
    return tuple(stops)


def read_format(where: Fields, key: str, *, nested: bool) -> tuple[ResponseFormat | None, Form | None]:
    """The form of an answer: what the model is shown, and what it is bound to. `nested` is how Chat Completions writes
    it, with an object inside."""
    form = where.inner_or_empty(key)
    kind = form.choice("type", ("text", "json_object", "json_schema"), "text")
    if kind == "text":
        return None, None
    if kind == "json_object":
        schema: dict[str, Any] = {"type": "object"}
        return ResponseFormat("json_object", schema), Form(schema=schema, strict=False)
    inner = form.inner_or_empty("json_schema") if nested else form
    name, schema = inner.name("name"), inner.inner_or_empty("schema").object()
    shown = ResponseFormat(name, schema, inner.text("description"))
    return shown, Form(schema=schema, strict=inner.flag("strict"))
