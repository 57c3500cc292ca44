"""What the model thought and said before each call, by the call's id: put back for clients that return calls alone.

Without its thought the model calls tools worse, and the prompt differs from what is in the KV cache already.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metal.files import parse_json
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.openai_messages import CUSTOM_INPUT

GAP = "\n\n"
"""Between two messages that Chat Completions joins."""

MOST_CHARACTERS = 32_000_000
"""Of all that is remembered, some 8 million tokens."""


@dataclass(frozen=True, slots=True)
class _Turn:
    before: int
    """The hash of the conversation that was answered."""
    messages: tuple[Message, ...]
    """The answer, up to the call."""

    @property
    def size(self) -> int:
        return sum(len(message.text) for message in self.messages)


class Thoughts:
    """Answers that end in a call. The least recently used is forgotten first."""

    def __init__(self, most_characters: int = MOST_CHARACTERS) -> None:
        self._most = most_characters
        self._size = 0
        self._turns: OrderedDict[str, _Turn] = OrderedDict()

    def __len__(self) -> int:
        return len(self._turns)

    def remember(self, call_id: str, before: Sequence[Message], answer: Sequence[Message]) -> None:
        """An answer to a conversation; its last message is the call of this id."""
        turn = self._turns[call_id] = _Turn(_hash(before), tuple(answer))
        self._size += turn.size
        while self._size > self._most:
            _, forgotten = self._turns.popitem(last=False)
            self._size -= forgotten.size

    def restored(self, call_id: str, messages: Sequence[Message], call: Message) -> list[Message]:
        """The conversation with the call behind it, and what the model thought before it if that is known.

        `messages` has the conversation up to the call as the client returns it. Nothing is put in if it is another
        conversation, if the call is another, or if the client says anything in the model's name that it has not said.
        """
        returned = [*messages, call]
        turn = self._turns.get(call_id)
        if turn is None or not _is_same_call(turn.messages[-1], call):
            return returned
        start = len(messages)
        while start and messages[start - 1].role is Role.ASSISTANT:
            start -= 1
        texts = {message.text for message in turn.messages} | {said(turn.messages)}
        if turn.before != _hash(messages[:start]) or any(each.text not in texts for each in messages[start:]):
            return returned
        self._turns.move_to_end(call_id)
        return [*messages[:start], *turn.messages]


def said(messages: Sequence[Message]) -> str:
    """What the model says to the user in these messages, as Chat Completions gives it: in one text."""
    spoken = (each for each in messages if each.role is Role.ASSISTANT and not each.calls_tool)
    return GAP.join(each.text for each in spoken if each.channel != "analysis" and each.text)


def _hash(messages: Sequence[Message]) -> int:
    """Of a conversation without the instructions at its front, which a client may change in the midst of a turn."""
    return hash(tuple(message for message in messages if message.role is not Role.SYSTEM))


def _is_same_call(known: Message, call: Message) -> bool:
    """Whether the arguments are the same, however they are written; a custom tool's text may have come without JSON."""
    return known.text == call.text or _arguments(known.text) == _arguments(call.text)


def _arguments(text: str) -> Any:
    try:
        return parse_json(text.encode("utf-8", "replace"))
    except ValueError:
        return {CUSTOM_INPUT: text}
