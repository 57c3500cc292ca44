"""Tool calls: what the model asks for, read leniently, and the message that answers it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.recipients import PATCH_BEGIN, PATCH_TOOL, every_tool, find_tool, unknown_name

# What other tools, and the model, call the code of a cell.
_CODE = ("code", "script", "input")
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
    its namespace, or with a wrong one, is understood, and an unknown name gives an `error` that has the right ones.
    Without them every name is taken for a tool's.
    """
    if message.role is not Role.ASSISTANT or not message.calls_tool:
        return None
    text, channel, recipient = message.text, message.channel or "commentary", message.recipient or ""
    arguments, wrong = _arguments(text)
    found = find_tool(recipient, arguments, known)
    if found is None:
        return ToolCall(unknown_name(recipient), text, channel, error=_no_tool(recipient, known or ()))
    name, inner = found
    if name == "python":
        return ToolCall(name, text, channel, {"code": _code(text, arguments)})
    if wrong and name == PATCH_TOOL and PATCH_BEGIN in text:  # without JSON, as in the training
        return ToolCall(name, text, channel, {"input": text})
    if wrong:
        return ToolCall(name, text, channel, error=f"Error: {wrong} Call {name} again with one JSON object.")
    return ToolCall(name, text, channel, arguments if inner is None else inner)


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


def _unfenced(text: str) -> str:
    """What is inside a code fence, if that is all there is; else the text as it is."""
    stripped = text.strip()
    if len(stripped) < 2 * len(_FENCE) or not stripped.startswith(_FENCE) or not stripped.endswith(_FENCE):
        return text
    inside = stripped.removeprefix(_FENCE).removesuffix(_FENCE)
    language, newline, rest = inside.partition("\n")
    return rest.rstrip() if newline and re.fullmatch(r"[\w+-]*", language.strip()) else inside


def _arguments(text: str) -> tuple[dict[str, Any], str]:
    """The arguments, or what is wrong with them."""
    try:
        return read_arguments(text), ""
    except ValueError as error:
        return {}, str(error)


def _code(text: str, arguments: Mapping[str, Any]) -> str:
    """Python's code: the content, or what is in its fence, or the code in an object as other tools take it."""
    for key in _CODE:
        if isinstance(code := arguments.get(key), str):
            return code
    return _unfenced(text)


def _no_tool(recipient: str, known: Collection[str]) -> str:
    """What to tell the model of a name that no tool has."""
    if not known:
        return "Error: no tools are available. Answer from what you know."
    return f"Error: there is no tool {recipient}. Tools: {', '.join(every_tool(known))}."


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
