"""What of earlier turns stays in the prompt: thoughts leave, and with them what builtin tools were asked and gave."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_model.harmony.builtin import BUILTIN_TOOLS
from mlx_model.harmony.message import Message, Role


def drop_old_analysis(messages: Sequence[Message]) -> list[Message]:
    """Leave out the chain of thought of every turn that has been answered, and what it did with builtin tools.

    That is each analysis text of the model before the last final message, and each call of a builtin tool with its
    result in a turn that has a final message after it. Calls of functions and their results stay. While tools are being
    called everything since the last final stays, which the model needs to go on.

    OpenAI's library filters by the channel, whoever wrote the message, which is the same for calls as in training:
    builtin ones on analysis, functions' on commentary. Here a call and its result stay or leave together, on whatever
    channel the model calls. (The library drops only what stands before the *first* final, and nothing at all while
    tools are being called.)
    """
    kept: list[Message] = []
    before_final = answered = False
    following: Message | None = None
    for message in reversed(messages):
        if is_final(message):
            before_final = answered = True
        elif message.role is Role.USER:
            answered = False
        if not (before_final and is_thought(message)) and not (answered and _is_builtin(message, following)):
            kept.append(message)
        following = message
    return kept[::-1]


def is_final(message: Message) -> bool:
    """Whether this is the model's answer to the user, be it empty."""
    return message.role is Role.ASSISTANT and message.channel == "final" and not message.calls_tool


def is_answer(message: Message) -> bool:
    """Whether this answers the user: it is final, and there is more in it than whitespace."""
    return is_final(message) and bool(message.text.strip())


def is_thought(message: Message) -> bool:
    """Whether this is chain of thought: analysis of the model that calls no tool."""
    return message.role is Role.ASSISTANT and message.channel == "analysis" and not message.calls_tool


def _is_builtin(message: Message, following: Message | None) -> bool:
    """Whether a message is a call of a builtin tool, or its result. The tool that answered says which one was meant:
    the model may have written "functions.python"."""
    if message.role is Role.TOOL:
        tool = message.name
    elif not message.calls_tool:
        return False
    else:
        tool = following.name if following is not None and following.role is Role.TOOL else message.recipient
    return (tool or "").partition(".")[0] in BUILTIN_TOOLS
