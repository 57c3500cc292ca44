"""A Python function as a tool: declared by its signature and docstring, called with checked arguments."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, NewType

from mlx_model.errors import GptossError, RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.tools import FunctionTool
from mlx_model.tools.base import CHARACTERS_A_TOKEN, ROOM, Output, ToolResult, shortened
from mlx_model.tools.kinds import Field, Kind, field_of, object_of

# Where the description of a docstring ends.
_SECTION = re.compile(
    r"^\s*(?:(?:Args|Arguments|Parameters|Returns|Yields|Raises|Examples?|Notes?):|:\w+)", re.MULTILINE
)
_ARGUMENTS = re.compile(r"^(\s*)(?:Args|Arguments|Parameters):\s*$", re.MULTILINE)
_ARGUMENT = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_SPHINX = re.compile(r"^\s*:param\s+(?:[^:]*\s)?(\w+):\s*(.*(?:\n(?!\s*:|\s*\n).*)*)", re.MULTILINE)


Room = NewType("Room", int)
"""The hint of an argument that the model doesn't give: how many characters the result may have."""


class Function:
    """A function that the model may call; what it returns is given to the model, as JSON unless it is a text or a
    ToolResult.

    Hints may be str, int, float, bool, None, list, dict, tuple, set, Literal, Enum, unions, TypedDict, dataclasses and
    Annotated with a text. The docstring describes the function, and in a section "Args:" or with ":param name:" its
    arguments. A coroutine function is awaited, any other runs in a thread. Raises RequestError for a function whose
    arguments can't come from a model.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        name = str(getattr(function, "__name__", type(function).__name__))
        try:
            parameters = _parameters(function)
            self._arguments = _arguments(parameters, function)
        except RequestError as error:
            raise RequestError(f"{name!r} can't be a tool: {error}") from None
        self._function = function
        self._rooms = [each.name for each in parameters if each.annotation is Room]
        schema = self._arguments.schema if self._arguments.schema["properties"] else None
        self.declaration = FunctionTool(name, _description(inspect.getdoc(function) or ""), schema, strict=True)

    @property
    def name(self) -> str:
        """The function's own."""
        return self.declaration.name

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        """See Tool. Of an exception the model reads its type and text, of a GptossError the text; no line of code."""
        start = time.monotonic()
        try:
            arguments = self._arguments.read(call.arguments, "")
        except ValueError as error:
            return ToolResult(f"Error: {error} Call {call.name} again with arguments that fit.", error=True)
        arguments |= dict.fromkeys(self._rooms, CHARACTERS_A_TOKEN * room)
        try:
            if inspect.iscoroutinefunction(self._function):
                value = await self._function(**arguments)
            else:
                value = await asyncio.to_thread(self._function, **arguments)
                value = await value if inspect.isawaitable(value) else value
            result = value if isinstance(value, ToolResult) else ToolResult(_as_text(value))
        except GptossError as error:
            result = ToolResult(f"Error: {error}", error=True)
        except (Exception, SystemExit) as error:
            result = ToolResult(f"Error: {type(error).__name__}: {error}".rstrip(": "), error=True)
        seconds = time.monotonic() - start
        return dataclasses.replace(result, text=shortened(result.text, room), seconds=seconds)

    async def close(self) -> None:
        """See Tool. There is nothing to end."""


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(function, eval_str=True).parameters.values()]
    except (ValueError, TypeError, NameError, SyntaxError, AttributeError) as error:
        raise RequestError(f"its signature can't be read ({error})") from None


def _arguments(parameters: Iterable[inspect.Parameter], function: Callable[..., Any]) -> Kind:
    described = _described(inspect.getdoc(function) or "")
    fields: list[Field] = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.annotation is Room:
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise RequestError(f"it takes {parameter.name!r} by its place, and a model gives arguments by name")
        hint = Any if parameter.annotation is parameter.empty else parameter.annotation
        default = dataclasses.MISSING if parameter.default is parameter.empty else parameter.default
        fields.append(field_of(parameter.name, hint, described.get(parameter.name, ""), default))
    return object_of(fields)


def _description(docstring: str) -> str:
    """What stands before the sections."""
    section = _SECTION.search(docstring)
    return docstring[: section.start() if section else None].strip()


def _described(docstring: str) -> dict[str, str]:
    """What a docstring says of each argument: in a section "Args:", or behind ":param name:"."""
    texts = {match[1]: match[2] for match in _SPHINX.finditer(docstring)}
    if opening := _ARGUMENTS.search(docstring):
        name, indent = "", None
        for line in docstring[opening.end() :].strip("\n").splitlines():
            depth = len(line) - len(line.lstrip())
            if line.strip() and depth <= len(opening[1]):
                break
            indent = depth if indent is None else indent
            if depth == indent and (match := _ARGUMENT.match(line.strip())):
                name, texts[match[1]] = match[1], match[2]
            elif name:
                texts[name] += f"\n{line}"
    return {name: " ".join(text.split()) for name, text in texts.items()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)
