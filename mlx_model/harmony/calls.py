"""Tool calls: what the model asks for, read leniently, and the message that answers it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.tools import FUNCTIONS

_BROWSER = ("browser.search", "browser.open", "browser.find")
_FENCE = "```"
# The end of a string is optional, so that one without an end is looked through once and not from each quote in it.
_COMMA_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?|,(?=\s*[}\]])', re.DOTALL)
# Python's parser takes some 100 bytes for each byte of a literal.
_LONGEST_LITERAL = 100_000


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model has made.

    `name` is the tool's full name ("functions.get_weather", "browser.search", "python"), `text` the content as the
    model wrote it. `arguments` are those of a function; of python they are {"code": ...}. If `error` is set the call
    can't be carried out, and `error` is what to tell the model instead of a result, so that it can try again.
    """

    name: str
    text: str
    channel: str = "commentary"
    arguments: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def result(self, text: str) -> Message:
        """The message with which the tool answers: on the call's channel, to functions always on commentary."""
        builtin = self.name.partition(".")[0] in BUILTIN_TOOLS
        return Message(Role.TOOL, text, self.name, self.channel if builtin else "commentary", "assistant")


def read_call(message: Message, known: Collection[str] | None = None) -> ToolCall | None:
    """Reads a message of the model's as a tool call, on any channel; None if it is no call. Never raises.

    `known` are the tools there are, by full name; "browser" stands for all of its three. With them a name without
    its namespace, or with a wrong one, is understood, and an unknown name gives an `error`.
    """
    if message.role is not Role.ASSISTANT or not message.calls_tool:
        return None
    channel = message.channel or "commentary"
    name, found = _full_name(message.recipient or "", known)
    if not found:
        tools = ", ".join(sorted(known or ())) or "none"
        return ToolCall(name, message.text, channel, error=f"Error: there is no tool {name}. Tools: {tools}.")
    if name == "python":
        return ToolCall(name, message.text, channel, {"code": _code(message.text)})
    try:
        return ToolCall(name, message.text, channel, read_arguments(message.text))
    except ValueError as error:
        return ToolCall(name, message.text, channel, error=f"Error: {error} Call {name} again with one JSON object.")


def read_arguments(text: str) -> dict[str, Any]:
    """The JSON object of a call. Nothing at all is an empty one.

    Forgives what has only one meaning: a code fence around it, the word json before it, one comma too many before a
    closing bracket, line breaks inside texts, an object that was made a JSON text once more, Python's notation.
    Raises ValueError, which says what is wrong, for anything else.
    """
    text = _unfenced(text).strip()
    text = re.sub(r"json\b\s*(?=\{)", "", text, count=1) if text.startswith("json") else text
    if not text:
        return {}
    value, wrong = _json(text)
    if wrong:
        value, still_wrong = _json(_COMMA_OR_STRING.sub(lambda match: "" if match[0] == "," else match[0], text))
        if still_wrong:
            value = _python_literal(text)
            if value is None:
                raise ValueError(f"the arguments are not valid JSON ({wrong}).")
    if isinstance(value, str):
        value, wrong = _json(value)
    if not isinstance(value, dict):
        raise ValueError("the arguments are not a JSON object.")
    return value


def _full_name(recipient: str, known: Collection[str] | None) -> tuple[str, bool]:
    """The full name of a tool, and whether there is one."""
    space, _, _ = recipient.partition(".")
    full = recipient if space in (*BUILTIN_TOOLS, FUNCTIONS) else f"{FUNCTIONS}.{recipient}"
    if known is None:
        return full, True
    names = {*known, *(_BROWSER if "browser" in known else ())} - {"browser"}
    for name in (recipient, full):
        if name in names:
            return name, True
    ends = {recipient, recipient.partition(".")[2] or recipient}
    fitting = [name for name in names if name in ends or name.partition(".")[2] in ends]
    return (fitting[0], True) if len(fitting) == 1 else (full, False)


def _unfenced(text: str) -> str:
    """What is inside a code fence, if that is all there is; else the text as it is."""
    stripped = text.strip()
    if len(stripped) < 2 * len(_FENCE) or not stripped.startswith(_FENCE) or not stripped.endswith(_FENCE):
        return text
    inside = stripped.removeprefix(_FENCE).removesuffix(_FENCE)
    language, newline, rest = inside.partition("\n")
    return rest.rstrip() if newline and re.fullmatch(r"[\w+-]*", language.strip()) else inside


def _code(text: str) -> str:
    """Python's code: the content, or what is in its fence, or the one text of a JSON object {"code": ...}."""
    code = _unfenced(text)
    value, _ = _json(code) if code.lstrip().startswith("{") else (None, "")
    match value:
        case {"code": str(inner), **others} if not others:
            return inner
    return code


def _json(text: str) -> tuple[Any, str]:
    """The value, or what is wrong with the text."""
    try:
        return json.loads(text, strict=False, parse_constant=_no_constant), ""
    except json.JSONDecodeError as error:
        return None, f"{error.msg}, line {error.lineno}, column {error.colno}"
    except RecursionError:
        return None, "nested too deeply"
    except ValueError as error:  # a number of thousands of digits, NaN
        return None, str(error).partition(";")[0]


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _python_literal(text: str) -> dict[str, Any] | None:
    """A dict in Python's notation, if it holds only what JSON has."""
    if not text.startswith("{") or len(text) > _LONGEST_LITERAL:
        return None
    try:
        value = ast.literal_eval(text)
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    # Equal only if nothing had to become something else: no tuples, no numbers as keys.
    return value if isinstance(value, dict) and value == plain else None
