"""What is learnt of a conversation: the ids of each answer as they would be sampled, and what each of them counts."""

import datetime
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlx_model.harmony.history import drop_old_analysis
from mlx_model.harmony.message import Effort, Message, Role
from mlx_model.harmony.prompt import developer_message, system_message
from mlx_model.harmony.render import Renderer
from mlx_model.lora.dialogues import Dialogue
from mlx_model.lora.forward import Row

_FIRST_DATE, _DATES = datetime.date(2024, 7, 1), 1000
"""Dates that the system message states: one for each conversation, so that no single one is learnt."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What the tokens of the model's messages count: those of its thoughts, and all others that it writes."""

    analysis: float = 1.0
    final: float = 1.0


@dataclass(frozen=True, slots=True)
class Example:
    """One answer with all that stands before it, and what the cross-entropy of each token counts, 0 of a prompt's.

    It is that of the first `end` messages of its conversation."""

    where: str
    end: int
    ids: tuple[int, ...]
    weights: tuple[float, ...]
    language: str
    has_thought: bool

    @property
    def learnt(self) -> int:
        """How many tokens are learnt."""
        return sum(weight > 0 for weight in self.weights)


def examples_of(dialogue: Dialogue, renderer: Renderer, weights: Weights) -> Iterator[Example]:
    """An example for each answer of a conversation.

    Before it stands what a chat would have there: earlier answers without their thoughts. So each answer is an example
    of its own.
    """
    for number, (begin, end) in enumerate(turns(dialogue.messages)):
        turn = dialogue.messages[begin:end]
        before = [*opening(dialogue, dialogue.effort_of(number)), *drop_old_analysis(dialogue.messages[:begin])]
        ids = renderer.conversation(before)
        counts = [0.0] * len(ids)
        for at, message in enumerate(turn):
            added = renderer.training([message]) if at == len(turn) - 1 else renderer.message(message)
            ids += added
            counts += _counted(added, message, turn[at - 1] if at else None, renderer, weights)
        has_thought = any(message.channel == "analysis" and not message.calls_tool for message in turn)
        yield Example(dialogue.where, end, tuple(ids), tuple(counts), dialogue.language, has_thought)


def opening(dialogue: Dialogue, effort: Effort) -> list[Message]:
    """The messages a conversation opens with, as a chat has them that asks for an answer of this effort."""
    date = _FIRST_DATE + datetime.timedelta(zlib.crc32(dialogue.where.encode()) % _DATES)
    head = [system_message(effort, date=date, functions=bool(dialogue.functions))]
    if dialogue.instructions is not None or dialogue.functions:
        head.append(developer_message(dialogue.instructions, dialogue.functions))
    return head


def row_of(examples: Sequence[Example]) -> Row:
    """Examples packed into one row."""
    ids = np.array([token for example in examples for token in example.ids], np.int32)
    counts = np.array([weight for example in examples for weight in example.weights], np.float32)
    at = np.flatnonzero(counts) - 1
    return Row(ids, tuple(len(example.ids) for example in examples), at.astype(np.int32), ids[at + 1], counts[at + 1])


def turns(messages: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """Where each answer begins, and behind which message of the model it ends."""
    begin, end = None, 0
    for at, message in enumerate(messages):
        if message.role is Role.ASSISTANT:
            begin, end = at if begin is None else begin, at + 1
        elif message.role is Role.USER and begin is not None:
            yield begin, end
            begin = None
    if begin is not None:
        yield begin, end


def _counted(
    ids: Sequence[int], message: Message, before: Message | None, renderer: Renderer, weights: Weights
) -> list[float]:
    """What each id of a message counts: only what the model itself would write."""
    if message.role is not Role.ASSISTANT:
        return [0.0] * len(ids)
    is_thought = message.channel == "analysis" and not message.calls_tool
    weight = weights.analysis if is_thought else weights.final
    counts = [weight] * len(ids)
    if before is None or before.role is not Role.ASSISTANT:
        given = len(renderer.opening)  # stands in the prompt, here and behind a tool's result
        if before is None and not is_thought and not message.calls_tool:
            given = renderer.text_begins(ids)  # else the model would learn not to think
        counts[:given] = [0.0] * given
    return counts
