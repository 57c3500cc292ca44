"""What a caller asks of a model: the conversation, how to answer it, and what the model may use. Free of MLX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlx_model.harmony.message import Message
from mlx_model.harmony.tools import FunctionTool, ResponseFormat
from mlx_model.options import Options


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one answer. The last of `messages` is answered, or continued where it is the model's own.

    `instructions` becomes the developer message. `tools` names builtin tools the model may call ("python", "browser"),
    `functions` are the caller's own; the caller runs both. `response_format` is shown to the model, which is not bound
    by it. Nothing of a request outlives it: the next one may state other instructions and tools, and what the KV cache
    holds of the prompt up to the first difference is still used. Sequences are kept as tuples.
    """

    messages: Sequence[Message]
    options: Options = field(default_factory=Options)
    instructions: str | None = None
    tools: Sequence[str] = ()
    functions: Sequence[FunctionTool] = ()
    response_format: ResponseFormat | None = None

    def __post_init__(self) -> None:
        for name in ("messages", "tools", "functions"):
            value: Sequence[Any] = getattr(self, name)
            object.__setattr__(self, name, tuple(value))

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
        if self.response_format is not None:
            fields["response_format"] = self.response_format.to_json()
        return fields

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> "Request":
        """The inverse of `to_json`. Raises TypeError, ValueError or RequestError for anything else."""
        known = {"messages", "options", "instructions", "tools", "functions", "response_format"}
        if unknown := fields.keys() - known:
            raise TypeError(f"a request has no field {sorted(unknown)[0]!r}")
        form = fields.get("response_format")
        return Request(
            messages=tuple(Message.from_json(message) for message in fields["messages"]),
            options=Options(**fields.get("options", {})),
            instructions=fields.get("instructions"),
            tools=tuple(fields.get("tools", ())),
            functions=tuple(FunctionTool(**function) for function in fields.get("functions", ())),
            response_format=None if form is None else ResponseFormat(**form),
        )
