"""Harmony's tools as functions of OpenAI's API, and back: no caller's builtin tools there, and no dots in names."""

import json
import re
from typing import Any

from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.tools import FUNCTIONS, FunctionTool
from mlx_model.request import Request

PYTHON = "python"
_CODE = "code"
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST = 64

_TEXT, _NUMBER, _FLAG = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
_NO_ARGUMENTS = {"type": "object", "properties": {}}


def _function(name: str, description: str, properties: dict[str, Any], *required: str) -> FunctionTool:
    return FunctionTool(name, description, {"type": "object", "properties": properties, "required": [*required]})


_SEARCH = {"query": _TEXT, "topn": _NUMBER, "source": _TEXT}
_OPEN = {
    "id": {"type": ["number", "string"]},
    **dict.fromkeys(("cursor", "loc", "num_lines"), _NUMBER),
    "view_source": _FLAG,
    "source": _TEXT,
}
# Not by the names that the model knows: a call of those does not come as a call of a function.
_BUILTIN = {
    "python": {PYTHON: _function("run_python_code", BUILTIN_TOOLS["python"], {_CODE: _TEXT}, _CODE)},
    "browser": {
        "browser.search": _function("browser_search", BUILTIN_TOOLS["browser"], _SEARCH, "query"),
        "browser.open": _function("browser_open", "See browser_search.", _OPEN),
        "browser.find": _function(
            "browser_find", "See browser_search.", {"pattern": _TEXT, "cursor": _NUMBER}, "pattern"
        ),
    },
}
_BY_RECIPIENT = {recipient: function for tools in _BUILTIN.values() for recipient, function in tools.items()}


class FunctionNames:
    """The functions of one request."""

    def __init__(self, request: Request) -> None:
        self.tools: list[dict[str, Any]] = []
        """As the API declares them."""
        self._recipients: dict[str, str] = {}  # by the API's name
        self._names: dict[str, str] = {}  # by recipient
        for function in request.functions:
            self._add(f"{FUNCTIONS}.{function.name}", function.name, function)
        for space in request.namespaces:
            for function in space.functions:
                self._add(f"{space.name}.{function.name}", f"{space.name}__{function.name}", function)
        for tool in request.tools:
            for recipient, function in _BUILTIN.get(tool, {}).items():
                self._add(recipient, function.name, function)

    def recipient(self, name: str) -> str:
        """Whom a call of this function goes to in Harmony; a name that nothing has stays what it is."""
        return self._recipients.get(name, f"{FUNCTIONS}.{name}")

    def call(self, recipient: str, text: str) -> tuple[str, str]:
        """The name and arguments of a call of the model's, also where the tool is no longer offered."""
        builtin = _BY_RECIPIENT.get(recipient)
        name = builtin.name if builtin is not None else _fit(recipient.removeprefix(f"{FUNCTIONS}."))
        return self._names.get(recipient, name), json.dumps({_CODE: text}) if recipient == PYTHON else text

    def _add(self, recipient: str, name: str, function: FunctionTool) -> None:
        name = _fit(name)
        if name in self._recipients:
            place = f"_{len(self.tools)}"
            name = name[: _LONGEST - len(place)] + place
        self._recipients[name], self._names[recipient] = recipient, name
        parameters = dict(function.parameters or _NO_ARGUMENTS)
        fields = {"description": function.description, "parameters": parameters, "strict": False}
        self.tools.append({"type": "function", "name": name, **fields})


def _fit(name: str) -> str:
    return _UNFIT.sub("_", name)[:_LONGEST]


def code_of(arguments: str) -> str:
    """The code in the arguments of a call of python; what is no such object is the code itself."""
    try:
        code = json.loads(arguments, strict=False)[_CODE]
    except (ValueError, TypeError, LookupError, RecursionError):
        return arguments
    return code if isinstance(code, str) else arguments
