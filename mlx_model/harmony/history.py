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


def drop_analysis_as_the_library(messages: Sequence[Message]) -> list[Message]:
    """What openai-harmony's auto_drop_analysis leaves, for comparison.

    Once the model's last message is final, analysis before the first final goes; so a chat keeps the analysis of its
    second turn and all later ones, and a second turn that calls tools brings back that of the first.
    """
    own = [message for message in messages if message.role is Role.ASSISTANT]
    if not own or own[-1].channel != "final":
        return list(messages)
    first = next(i for i, message in enumerate(messages) if message.channel == "final")
    return [message for i, message in enumerate(messages) if i >= first or message.channel != "analysis"]


def is_final(message: Message) -> bool:
    """Whether this is an answer of the model to the user."""
    return message.role is Role.ASSISTANT and message.channel == "final"


def is_thought(message: Message) -> bool:
    """Whether this is chain of thought: analysis of the model that calls no tool."""
    return message.role is Role.ASSISTANT and message.channel == "analysis" and message.recipient is None
