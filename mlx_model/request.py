"""What a caller asks of a model: the conversation, how to answer it, and what the model may use. Free of MLX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_model.errors import RequestError
from mlx_model.harmony.message import Message
from mlx_model.harmony.tools import FUNCTIONS, FunctionTool, Namespace, ResponseFormat
from mlx_model.options import Options


@dataclass(frozen=True, slots=True)
class Form:
    """What the final message is bound to: a JSON schema, a regular expression, or a grammar in Lark's notation.

    Exactly one of the three; the message is wholly of that form. What of a schema can't be enforced is refused by name,
    or, where `strict` is False, left out with a warning (events.Warned). Raises RequestError for anything else.
    """

    schema: Mapping[str, Any] | None = None
    regex: str | None = None
    grammar: str | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.schema, self.regex, self.grammar)) != 1:
            raise RequestError("a form is one of these: a JSON schema, a regular expression, a grammar")
        if not isinstance(self.schema, Mapping | None):
            raise RequestError(f"the schema of a form must be an object, not {type(self.schema).__name__}")
        for name, value in (("regex", self.regex), ("grammar", self.grammar)):
            if not isinstance(value, str | None) or value == "":
                raise RequestError(f"the {name} of a form is {value!r}; it must be a text that says something")

    def to_json(self) -> dict[str, Any]:
        """A JSON object with what is set; `Form(**fields)` is the inverse."""
        fields: dict[str, Any] = {} if self.strict else {"strict": False}
        if self.schema is not None:
            fields["schema"] = dict(self.schema)
        return fields | {n: v for n, v in (("regex", self.regex), ("grammar", self.grammar)) if v is not None}


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one answer. The last of `messages` is answered, or continued where it is the model's own.

    `instructions` becomes the developer message. `tools` names builtin tools the model may call ("python", "browser"),
    `functions` are the caller's own, and so are those of further `namespaces`; the caller runs them all.
    `response_format` is shown to the model, which is not bound by it; `form` is what the final message is bound to.
    `tool_choice` is "auto", "none" (no call), "required" (a call and no answer), or the name of the one function that
    must be called. `strict_headers` binds the headers of all messages too, so that none is malformed. Nothing of a
    request outlives it: the next one may state other instructions and tools, and what the KV cache holds of the prompt
    up to the first difference is still used. Sequences are kept as tuples.
    """

    messages: Sequence[Message]
    options: Options = field(default_factory=Options)
    instructions: str | None = None
    tools: Sequence[str] = ()
    functions: Sequence[FunctionTool] = ()
    response_format: ResponseFormat | None = None
    tool_choice: str = "auto"
    form: Form | None = None
    strict_headers: bool = False
    namespaces: Sequence[Namespace] = ()

    def __post_init__(self) -> None:
        for name in ("messages", "tools", "functions", "namespaces"):
            value: Sequence[Any] = getattr(self, name)
            object.__setattr__(self, name, tuple(value))
        if not isinstance(self.tool_choice, str) or not self.tool_choice:
            raise RequestError(
                f'the tool choice is {self.tool_choice!r}; it must be "auto", "none", "required" or the name of a tool'
            )

    @property
    def every_function(self) -> dict[str, FunctionTool]:
        """The caller's functions, those of namespaces included, by full name."""
        spaces = [Namespace(FUNCTIONS, tuple(self.functions)), *self.namespaces]
        return {f"{space.name}.{each.name}": each for space in spaces for each in space.functions}

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields that are set; schemas in it stay as they are."""
        fields: dict[str, Any] = {
            "messages": [message.to_json() for message in self.messages],
            "options": self.options.to_json(),
        }
        if self.instructions is not None:
            fields["instructions"] = self.instructions
        if self.tools:
            fields["tools"] = list(self.tools)
        if self.functions:
            fields["functions"] = [function.to_json() for function in self.functions]
        if self.namespaces:
            fields["namespaces"] = [namespace.to_json() for namespace in self.namespaces]
        if self.response_format is not None:
            fields["response_format"] = self.response_format.to_json()
        if self.tool_choice != "auto":
            fields["tool_choice"] = self.tool_choice
        if self.form is not None:
            fields["form"] = self.form.to_json()
        if self.strict_headers:
            fields["strict_headers"] = True
        return fields

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> "Request":
        """The inverse of `to_json`. Raises TypeError, ValueError or RequestError for anything else."""
        if unknown := fields.keys() - Request.__dataclass_fields__.keys():
            raise TypeError(f"a request has no field {sorted(unknown)[0]!r}")
        shown, form = fields.get("response_format"), fields.get("form")
        return Request(
            messages=tuple(Message.from_json(message) for message in fields["messages"]),
            options=Options(**fields.get("options", {})),
            instructions=fields.get("instructions"),
            tools=tuple(fields.get("tools", ())),
            functions=tuple(FunctionTool(**function) for function in fields.get("functions", ())),
            namespaces=tuple(map(Namespace.from_json, fields.get("namespaces", ()))),
            response_format=None if shown is None else ResponseFormat(**shown),
            tool_choice=fields.get("tool_choice", "auto"),
            form=None if form is None else Form(**form),
            strict_headers=fields.get("strict_headers", False),
        )
