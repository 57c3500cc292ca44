"""The two messages a conversation opens with: the system message and the developer message."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.message import Effort, Message, Role

# gpt-oss was trained with this line; a persona goes into the developer message.
IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
KNOWLEDGE_CUTOFF = "2024-06"
CHANNELS = ("analysis", "commentary", "final")


def system_message(
    effort: Effort = Effort.MEDIUM,
    *,
    date: datetime.date | str | None = None,
    tools: Iterable[str] = (),
    functions: bool = False,
    identity: str | None = IDENTITY,
    cutoff: str | None = KNOWLEDGE_CUTOFF,
) -> Message:
    """The system message, in the order and wording of the training data.

    `date` is today's (a text is taken as it is); `tools` names builtin tools, "browser" or "python"; `functions` says
    that the developer message defines functions, which adds the line that sends their calls to the commentary channel.
    Raises ValueError for an unknown tool.
    """
    if unknown := sorted(set(tools := tuple(tools)) - set(BUILTIN_TOOLS)):
        raise ValueError(f"{unknown[0]!r} is not a builtin tool; there are {', '.join(BUILTIN_TOOLS)}")
    lines = [
        identity,
        cutoff and f"Knowledge cutoff: {cutoff}",
        date and f"Current date: {date}",
    ]
    channels = f"# Valid channels: {', '.join(CHANNELS)}. Channel must be included for every message."
    if functions:
        channels += "\nCalls to these tools must go to the commentary channel: 'functions'."
    sections = [
        "\n".join(line for line in lines if line),
        f"Reasoning: {Effort(effort)}",
        tools_section(BUILTIN_TOOLS[name] for name in sorted(set(tools))),
        channels,
    ]
    return Message(Role.SYSTEM, "\n\n".join(section for section in sections if section))


def developer_message(instructions: str | None = None, tools: str = "") -> Message:
    """The developer message: what the caller wants of the model, and a `tools_section` of functions.

    Instructions that are empty still give their heading; None gives none.
    """
    sections = [] if instructions is None else ["# Instructions", instructions]
    return Message(Role.DEVELOPER, "\n\n".join([*sections, *([tools] if tools else [])]))


def tools_section(namespaces: Iterable[str]) -> str:
    """A `# Tools` section of namespaces given by their text, in the order given; empty if there are none."""
    return "\n\n".join(["# Tools", *texts]) if (texts := list(namespaces)) else ""
