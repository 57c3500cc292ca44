"""How tools are declared to the model: functions in namespaces, and formats for its answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlx_model.errors import RequestError

FUNCTIONS = "functions"
# A name goes into the header of each call, where the parser has to find it again.
_NAME = re.compile(r"[\w.:/-]{1,128}")


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the model may call.

    `parameters` is the JSON schema of its arguments, of any flavour that `schema.normalise` reads; None or an empty one
    says that it takes none. Wherever llguidance is installed, the arguments of a `strict` function are bound to the
    schema, and what of that can't be enforced is refused; where nothing is said of it (None) they are bound as far as
    that goes; with False they are whatever the model writes. Raises RequestError for a name that can't stand in a
    header.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        _check_name(self.name, "function")

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> FunctionTool:
        """Reads a definition of OpenAI's chat-completions or responses API, or of an MCP server's tool list.

        Raises RequestError if it is none of these.
        """
        inner = fields.get("function", fields) if isinstance(fields, Mapping) else None
        if not isinstance(inner, Mapping) or fields.get("type", "function") != "function":
            raise RequestError("a tool's definition must be an object with the name of a function")
        schema = inner.get("parameters", inner.get("inputSchema"))
        description = inner.get("description") or ""
        if not isinstance(description, str):
            raise RequestError(f"the description of {str(inner.get('name'))[:80]!r} must be a text")
        if not isinstance(schema, Mapping | None):
            raise RequestError(f"the parameters of {str(inner.get('name'))[:80]!r} must be a JSON schema, an object")
        strict = inner.get("strict")
        return FunctionTool(inner.get("name", ""), description, schema, strict if isinstance(strict, bool) else None)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `FunctionTool(**fields)` is the inverse."""
        parameters = None if self.parameters is None else dict(self.parameters)
        fields = {"name": self.name, "description": self.description, "parameters": parameters}
        return fields | ({} if self.strict is None else {"strict": self.strict})

    def text(self) -> str:
        """The function's comment and type. Raises RequestError, naming it, if its parameters are no JSON schema."""
        # Only now: the screen's process passes tools on, and writes none out.
        from mlx_model.harmony.schema import normalise
        from mlx_model.harmony.typescript import comment, typescript

        takes = ""
        if self.parameters:
            try:
                takes = f"_: {typescript(normalise(dict(self.parameters)))}"
            except RequestError as error:
                raise RequestError(f"the parameters of the function {self.name!r} can't be used: {error}") from None
        lines = comment(self.description) if self.description else []
        return "\n".join([*lines, f"type {self.name} = ({takes}) => any;\n"])


@dataclass(frozen=True, slots=True)
class Namespace:
    """Functions under one name, "functions" for those of the caller's. Without functions it is a description only, as
    the builtin python. Raises RequestError if two functions share a name."""

    name: str
    functions: tuple[FunctionTool, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        _check_name(self.name, "namespace")
        _check_distinct((function.name for function in self.functions), "functions")

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        functions = [function.to_json() for function in self.functions]
        return {"name": self.name, "functions": functions, "description": self.description}

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Namespace:
        """The inverse of `to_json`. Raises TypeError or RequestError for anything else."""
        functions = tuple(FunctionTool(**function) for function in fields["functions"])
        return Namespace(fields["name"], functions, fields["description"])

    def text(self) -> str:
        """Its part of the tools section. Raises RequestError for parameters that can't be used."""
        described = self.description.splitlines()
        lines = [f"## {self.name}\n"]
        if not self.functions:
            return "\n".join([*lines, *described])
        lines += [f"// {line}" for line in described]
        lines.append(f"namespace {self.name} {{\n")
        lines += [function.text() for function in self.functions]
        return "\n".join([*lines, f"}} // namespace {self.name}"])


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """A JSON schema that the answer should keep to. The model is steered by it, not bound."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""

    def text(self) -> str:
        """Its part of the developer message: the schema stands there as it is. Raises RequestError if it isn't JSON."""
        from mlx_model.harmony.typescript import comment, json_text  # only now, likewise

        try:
            schema = json_text(dict(self.schema))
        except (TypeError, ValueError, RecursionError):
            raise RequestError(f"the schema of the response format {self.name!r} is not JSON") from None
        lines = comment(self.description) if self.description else []
        return "\n".join([f"## {self.name}\n", *lines, schema])

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `ResponseFormat(**fields)` is the inverse."""
        return {"name": self.name, "schema": dict(self.schema), "description": self.description}


def tools_section(namespaces: Iterable[tuple[str, str]]) -> str:
    """A `# Tools` section of namespaces, each given by its name and text, in the order of the names; empty without any.

    Raises RequestError if two share a name.
    """
    found = sorted(namespaces)
    _check_distinct((name for name, _ in found), "namespaces")
    return "\n\n".join(["# Tools", *(text for _, text in found)]) if found else ""


def _check_name(name: object, kind: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestError(
            f"{str(name)[:80]!r} can't be the name of a {kind}: use letters, digits and _ . : / -, at most 128"
        )


def _check_distinct(names: Iterable[str], kind: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RequestError(f"two {kind} are called {name!r}")
        seen.add(name)
