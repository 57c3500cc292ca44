"""What a script may give as the form of an answer, and what it gets back: a schema, a class, a pattern, a grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_model.errors import RequestError
from mlx_model.harmony.tools import ResponseFormat
from mlx_model.request import Form
from mlx_model.tools.kinds import kind_of

Format = Mapping[str, Any] | ResponseFormat | type | Any
"""A JSON schema, a pydantic model, or a type hint that kinds.kind_of reads: a dataclass, a TypedDict, `list[int]`. A
ResponseFormat is shown to the model and binds nothing."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The form of an answer: what the model is shown of it, what the answer is bound to, and how its text is read."""

    shown: ResponseFormat | None = None
    form: Form | None = None
    read: Callable[[str], Any] | None = None


def answer_format(
    response_format: Format | None, regex: str | None = None, grammar: str | None = None, *, strict: bool = True
) -> AnswerFormat:
    """The form that the keywords of `generate` ask for. Raises RequestError for several, or for what is none."""
    if sum(each is not None for each in (response_format, regex, grammar)) > 1:
        raise RequestError("give one of response_format, regex and grammar: an answer has one form")
    if regex is not None or grammar is not None:
        return AnswerFormat(form=Form(regex=regex, grammar=grammar))
    if response_format is None:
        return AnswerFormat()
    if isinstance(response_format, ResponseFormat):
        return AnswerFormat(shown=response_format)
    schema, read = _schema_and_reader(response_format)
    title = schema.get("title") if isinstance(response_format, Mapping) else getattr(response_format, "__name__", "")
    name = re.sub(r"\W+", "_", str(title or "")).strip("_")[:64] or "answer"
    return AnswerFormat(ResponseFormat(name, schema), Form(schema, strict=strict), read)


def _schema_and_reader(given: Any) -> tuple[Mapping[str, Any], Callable[[str], Any]]:
    if isinstance(given, Mapping):
        if given.get("type") in ("json_schema", "json_object", "text"):
            raise RequestError(
                "response_format is the JSON schema itself, not OpenAI's object around it: give "
                'response_format=that["json_schema"]["schema"]'
            )
        return given, json.loads
    # A pydantic model, known by what it can do: pydantic itself need not be here.
    if isinstance(given, type) and hasattr(given, "model_json_schema") and hasattr(given, "model_validate_json"):
        return given.model_json_schema(), given.model_validate_json
    try:
        kind = kind_of(given)
    except RequestError as error:
        raise RequestError(
            f"response_format can't be used: {error}; give a JSON schema, a pydantic model, a dataclass or a TypedDict"
        ) from None
    return kind.schema, lambda text: kind.read(json.loads(text), "")
