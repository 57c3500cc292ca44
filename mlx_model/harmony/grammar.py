"""A request as grammars, in llguidance's notation: what of an answer is bound, and to what. Needs no llguidance.

A grammar is a JSON text with several parts. The first is in Lark's notation and has Harmony's rules, with markup and
headers spelt in the ids that the model was trained with (`<[200005]>` is that one token): no header is malformed, and
none is split in another way. What messages are bound to stands in parts of their own, named by the first (`@answer`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from mlx_model.errors import RequestError
from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.choice import ToolChoice, tool_choice
from mlx_model.harmony.keywords import unknown_keywords
from mlx_model.harmony.message import CONSTRAIN, Role
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.harmony.tools import FunctionTool
from mlx_model.request import Form, Request

ANSWER = "the answer"
"""What a form is said to belong to."""

_MOST_MESSAGES = 8
"""Thoughts and preambles before the message that ends the answer."""

_MOST_BEFORE_A_CALL = 2
"""The same where the model has to call: one that wants to answer goes on thinking instead."""

_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON in one line, as the model writes it. Where a grammar allows any whitespace, a model may write it for ever."""

_ANY_TEXT = r"/(.|\n)*/"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is bound. `owner` says whose it is, for a person ("the arguments of f"), `about` for a program
    (as RequestError has it); `grammar` is its own."""

    owner: str
    about: str
    grammar: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """What binds an answer.

    `turn` is the grammar of everything behind `<|start|>assistant`. Where it is None, headers are the model's own, and
    `calls` has the grammars of the contents of calls, with their terminators, by the tool's full name; nobody insists
    on those of `optional`, which are free where that can't be followed. `parts` are the others, to be checked one by
    one, so that an error can name its owner. `opening` are the ids that end a thought and lead to a call; empty where
    the model may answer. `bound` are the recipients of messages with a form of their own, None for the final message;
    other messages are free text. `json` are those of a `turn` whose form is a schema.
    """

    turn: str | None = None
    calls: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    opening: tuple[int, ...] = ()
    bound: frozenset[str | None] = frozenset()
    json: frozenset[str | None] = frozenset()
    optional: frozenset[str] = frozenset()


def bind(
    request: Request, tokenizer: Tokenizer, compiles: Callable[[str], bool] = lambda grammar: True
) -> Binding | None:
    """What binds the answer to a request; None where nothing does. Raises RequestError for what can't be bound.

    `compiles` says of a grammar whether it can be followed. It is asked only of what would be part of another one, and
    what nobody insists on.
    """
    choice = tool_choice(request)
    offers_tools = bool(request.tools or request.every_function)
    whole = request.form is not None or request.strict_headers or (request.tool_choice != "auto" and offers_tools)
    functions = {name: each for name, each in request.every_function.items() if name in choice.tools}
    bodies = {name: body for name in functions if (body := _parameters(functions[name])) is not None}
    if not whole and not bodies:
        return None
    writer = _Writer(tokenizer)
    calls = {name: writer.alone(body, "<|call|>") for name, body in bodies.items()}
    optional = frozenset(name for name in bodies if not functions[name].strict)
    parts = [
        Part(f"the arguments of {name}", name, calls[name], _unknown(body["json_schema"]))
        for name, body in bodies.items()
        if name not in optional
    ]
    if not whole:
        return Binding(calls=calls, parts=tuple(parts), bound=frozenset(bodies), optional=optional)
    bodies = {name: body for name, body in bodies.items() if name not in optional or compiles(calls[name])}
    final = None if request.form is None or choice.required else _form(request.form)
    if final is not None:
        parts.insert(0, Part(ANSWER, "form", writer.alone(final, "<|return|>"), _unknown(final.get("json_schema"))))
    turn = writer.turn(choice, bodies, final)
    if not optional.isdisjoint(bodies) and not compiles(turn):  # each by itself could be followed
        bodies = {name: body for name, body in bodies.items() if name not in optional}
        turn = writer.turn(choice, bodies, final)
    return Binding(
        turn=turn,
        parts=tuple(parts),
        opening=tuple(writer.opening(choice.tools)) if choice.required else (),
        bound=frozenset([*bodies, *([] if final is None else [None])]),
        json=frozenset([*bodies, *([] if final is None or "json_schema" not in final else [None])]),
    )


def _form(form: Form) -> dict[str, Any]:
    """A form as a part of a grammar."""
    if form.schema is not None:
        return {"json_schema": _spaced(form.schema, lenient=not form.strict)}
    if form.regex is not None:
        return {"lark_grammar": f"start: /{_escaped(form.regex)}/"}
    return {"lark_grammar": form.grammar}


def _parameters(function: FunctionTool) -> dict[str, Any] | None:
    """The arguments of a function as a part of a grammar: always an object, without a schema an empty one.

    None where they are free: nobody insists on them, and a keyword that is not known here may allow more than the rest
    of the schema does, as OpenAPI's `nullable`.
    """
    schema = {"type": "object", **(function.parameters or {"properties": {}, "additionalProperties": False})}
    if function.strict is False or (function.strict is None and unknown_keywords(schema)):
        return None
    return {"json_schema": _spaced(schema, lenient=not function.strict)}


def _spaced(schema: Mapping[str, Any], *, lenient: bool) -> dict[str, Any]:
    spaced = {**schema, "x-guidance": {**_SPACING, "lenient": lenient}}
    try:
        json.dumps(spaced, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise RequestError("a schema that an answer is to keep to is not JSON") from None
    return spaced


def _unknown(schema: Mapping[str, Any] | None) -> tuple[str, ...]:
    """A warning for what a schema says and nobody understands."""
    names = [] if schema is None else unknown_keywords(schema)
    listed = ", ".join(map(repr, names))
    return (
        (f"the keyword{'s' * (len(names) > 1)} {listed} of the schema bind{'s' * (len(names) == 1)} nothing",)
        if names
        else ()
    )


def _escaped(regex: str) -> str:
    """A regular expression between slashes."""
    escaped, after_backslash = "", False
    for character in regex:
        escaped += "\\/" if character == "/" and not after_backslash else "\\n" if character == "\n" else character
        after_backslash = character == "\\" and not after_backslash
    return escaped


class _Writer:
    """Writes grammars with the ids of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._encode = tokenizer.encode
        self._special = tokenizer.special

    def alone(self, body: Mapping[str, Any], end: str) -> str:
        """A message's content and its terminator."""
        return _grammar([f"start: @body {self._mark(end)}"], {"body": body})

    def turn(self, choice: ToolChoice, bodies: Mapping[str, Any], final: Mapping[str, Any] | None) -> str:
        """All of an answer."""
        ends = [f"call{at}" for at in range(len(choice.tools))] + ([] if choice.required else ["final"])
        most = _MOST_BEFORE_A_CALL if choice.required else _MOST_MESSAGES
        again = f"{self._mark('<|end|>')} {self._mark('<|start|>')} {self._text(Role.ASSISTANT)}"
        channel, message = self._mark("<|channel|>"), self._mark("<|message|>")
        lines = [
            f"TEXT: {_ANY_TEXT}",
            f"start: (said {again}){{0,{most}}} ({' | '.join(ends)})",
            f"said: {channel} where {message} TEXT",
            f"where: {self._text('analysis')} | {self._text('commentary')}",
            f"json: {_spelt(self._constrained)} | {self._text(' json')} | ",
            f"any: json | {self._text(' code')}",
        ]
        parts: dict[str, Mapping[str, Any]] = {}
        for at, tool in enumerate(choice.tools):
            text = "TEXT" if tool not in bodies else f"@args{at}"
            to, kind = self._text(f" to={tool}"), "json" if _is_function(tool) else "any"
            header = f"({to} {channel} where | {channel} where {to}) {kind} {message}"
            lines.append(f"call{at}: {header} {text} {self._mark('<|call|>')}")
            if tool in bodies:
                parts[f"args{at}"] = bodies[tool]
        if not choice.required:
            text = "TEXT" if final is None else "@answer"
            lines.append(f"final: {channel} {self._text('final')} json {message} {text} {self._mark('<|return|>')}")
        return _grammar(lines, parts if final is None else {**parts, "answer": final})

    def opening(self, tools: Sequence[str]) -> Iterator[int]:
        """The ids from a thought's end to where the tools that may be called part."""
        for name in ("<|end|>", "<|start|>"):
            yield self._special[name]
        yield from self._encode(Role.ASSISTANT)
        yield self._special["<|channel|>"]
        yield from self._encode("commentary")
        spelt = [self._encode(f" to={tool}") for tool in tools]
        yield from (ids[0] for ids in takewhile(lambda ids: len(set(ids)) == 1, zip(*spelt, strict=False)))
        if len(spelt) == 1:
            yield from self._constrained if _is_function(tools[0]) else ()
            yield self._special["<|message|>"]

    @property
    def _constrained(self) -> list[int]:
        """The content type that the model gives to JSON."""
        return [*self._encode(" "), self._special[CONSTRAIN], *self._encode("json")]

    def _text(self, text: str) -> str:
        return _spelt(self._encode(text))

    def _mark(self, name: str) -> str:
        return _spelt([self._special[name]])


def _is_function(tool: str) -> bool:
    """Whether a tool takes JSON: one of the caller's, in whatever namespace."""
    return tool.partition(".")[0] not in BUILTIN_TOOLS


def _spelt(ids: Iterable[int]) -> str:
    return " ".join(f"<[{token}]>" for token in ids)


def _grammar(lines: Iterable[str], parts: Mapping[str, Mapping[str, Any]]) -> str:
    named = [{"name": name, **part} for name, part in parts.items()]
    return json.dumps({"grammars": [{"lark_grammar": "\n".join(lines)}, *named]}, ensure_ascii=False)
