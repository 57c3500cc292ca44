"""Which analysis of earlier turns stays in the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from mlx_model.harmony.message import Message, Role


def drop_old_analysis(messages: Sequence[Message]) -> list[Message]:
    """Leave out the chain of thought of every turn that has been answered.

    That is each analysis text of the model before the last final message. Tool calls and their results stay, and while
    tools are being called so does all analysis since that final, which the model needs to go on. (OpenAI's library
    drops only what stands before the *first* final, and nothing at all while tools are being called.)
    """
    finals = [i for i, message in enumerate(messages) if is_final(message)]
    last = finals[-1] if finals else 0
    return [message for i, message in enumerate(messages) if i >= last or not is_thought(message)]


def is_final(message: Message) -> bool:
    """Whether this is the model's answer to the user, be it empty."""
    return message.role is Role.ASSISTANT and message.channel == "final"


def is_answer(message: Message) -> bool:
    """Whether this answers the user: it is final, and there is more in it than whitespace."""
    return is_final(message) and bool(message.text.strip())


def is_thought(message: Message) -> bool:
    """Whether this is chain of thought: analysis of the model that calls no tool."""
    return message.role is Role.ASSISTANT and message.channel == "analysis" and message.recipient is None
