"""The two messages a conversation opens with: the system message and the developer message."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.message import Effort, Message, Role
from mlx_model.harmony.tools import FUNCTIONS, FunctionTool, Namespace, ResponseFormat, tools_section

# gpt-oss was trained with this line; a persona goes into the developer message.
IDENTITY = "You are ChatGPT, a large language model trained by OpenAI."
KNOWLEDGE_CUTOFF = "2024-06"
CHANNELS = ("analysis", "commentary", "final")


def system_message(
    effort: Effort | None = Effort.MEDIUM,
    *,
    date: datetime.date | str | None = None,
    tools: Iterable[str | Namespace] = (),
    functions: bool = False,
    identity: str | None = IDENTITY,
    cutoff: str | None = KNOWLEDGE_CUTOFF,
    channels: Sequence[str] = CHANNELS,
) -> Message:
    """The system message, in the order and wording of the training data.

    `date` is today's (a text is taken as it is); `tools` names builtin tools, "browser" or "python" (or gives a whole
    namespace); `functions` says that the developer message defines functions, which adds the line that sends their
    calls to the commentary channel. A part that is None or empty is left out. Raises ValueError for an unknown tool.
    """
    tools = tuple(tools)
    names = {tool for tool in tools if isinstance(tool, str)}
    if unknown := sorted(names - set(BUILTIN_TOOLS)):
        raise ValueError(f"{unknown[0]!r} is not a builtin tool; there are {', '.join(BUILTIN_TOOLS)}")
    lines = [
        identity,
        cutoff and f"Knowledge cutoff: {cutoff}",
        date and f"Current date: {date}",
    ]
    valid = f"# Valid channels: {', '.join(channels)}. Channel must be included for every message."
    if functions:
        valid += "\nCalls to these tools must go to the commentary channel: 'functions'."
    sections = [
        "\n".join(line for line in lines if line),
        f"Reasoning: {Effort(effort)}" if effort else None,
        tools_section(
            [
                *((name, BUILTIN_TOOLS[name]) for name in names),
                *((tool.name, tool.text()) for tool in tools if isinstance(tool, Namespace)),
            ]
        ),
        valid if channels else None,
    ]
    return Message(Role.SYSTEM, "\n\n".join(section for section in sections if section))


def developer_message(
    instructions: str | None = None,
    functions: Iterable[FunctionTool] = (),
    *,
    namespaces: Iterable[Namespace] = (),
    formats: Iterable[ResponseFormat] = (),
) -> Message:
    """The developer message: what the caller wants of the model, the functions it may call, the formats of its answer.

    Instructions that are empty still give their heading; None gives none. `functions` become the namespace of that
    name, for which the system message needs its `functions` as well; `namespaces` are others. Raises RequestError for
    parameters that are no JSON schema, and for names that come twice.
    """
    defined = [*namespaces]
    if functions := tuple(functions):
        defined.append(Namespace(FUNCTIONS, functions))
    sections = [
        *([] if instructions is None else ["# Instructions", instructions]),
        *filter(None, [tools_section((namespace.name, namespace.text()) for namespace in defined)]),
    ]
    if texts := [form.text() for form in formats]:
        sections += ["# Response Formats", *texts]
    return Message(Role.DEVELOPER, "\n\n".join(sections))
