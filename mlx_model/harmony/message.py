"""Messages of a Harmony conversation: immutable, comparable, with a JSON round trip."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# In front of a content type: the text is bound to that grammar. A special token when rendered.
CONSTRAIN = "<|constrain|>"

# Recipients that are no tool.
NO_TOOL = (None, "", "all", "user", "assistant")


class Role(StrEnum):
    """Who wrote a message."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Effort(StrEnum):
    """How long the model may think, as the system message states it. gpt-oss knows these three and no "off"."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `text` is its content; the other fields are its header.

    `name` is the author's name where the role has one (a tool's is its full name: "functions.get_weather").
    `channel` is "analysis", "commentary" or "final" in assistant and tool messages. `recipient` is set in tool calls
    and results. `content_type` is "json", "code", "<|constrain|>json" or the like. `recovered` marks a message whose
    malformed header or ending the parser had to repair.
    """

    role: Role
    text: str
    name: str | None = None
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None
    recovered: bool = False

    @property
    def calls_tool(self) -> bool:
        """Whether the message goes to a tool: the model also names nobody, all, or one of the two who talk, and means
        the user."""
        return self.recipient not in NO_TOOL

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields that are set."""
        fields: dict[str, Any] = {"role": self.role.value, "text": self.text}
        for key in ("name", "channel", "recipient", "content_type"):
            if (value := getattr(self, key)) is not None:
                fields[key] = value
        if self.recovered:
            fields["recovered"] = True
        return fields

    @staticmethod
    def from_json(fields: dict[str, Any]) -> Message:
        """The inverse of `to_json`. Raises ValueError or TypeError on unknown roles or fields."""
        return Message(**{**fields, "role": Role(fields["role"])})


def user(text: str) -> Message:
    """A message of the person at the keyboard."""
    return Message(Role.USER, text)


def system(text: str) -> Message:
    """Instructions, as other APIs call them. At the front of a prompt to `generate` they become the developer message:
    gpt-oss has a system message of its own, in which they don't belong."""
    return Message(Role.SYSTEM, text)


def assistant(text: str, channel: str = "final") -> Message:
    """A message of the model, by default one meant for the user."""
    return Message(Role.ASSISTANT, text, channel=channel)
