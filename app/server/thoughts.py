"""What the model thought and said before each call, by the call's id: put back for clients that return calls alone.

Without its thought the model calls tools worse, and the prompt differs from what is in the KV cache already.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from metal.files import parse_json
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.openai_messages import CUSTOM_INPUT

GAP = "\n\n"
"""Between two messages that Chat Completions joins."""

_NOTHING = 0
"""The hash of a conversation without messages."""
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

    def restoring(self) -> "Restoring":
        """For the calls of one conversation that a client returns."""
        return Restoring(self._turns)


class Restoring:
    """Reads one conversation, from its beginning on, and puts in again what the model thought before its calls."""

    def __init__(self, turns: OrderedDict[str, _Turn]) -> None:
        self._turns = turns
        self._hash, self._count = _NOTHING, 0  # of so many messages, all of them before the next call

    def add_call(self, call_id: str, messages: list[Message], call: Message) -> None:
        """Adds a call to `messages`, the conversation up to it as the client returns it; with what the model thought
        before it if that is known.

        Nothing is put in if it is another conversation, if the call is another, or if the client says anything in the
        model's name that it has not said.
        """
        turn = self._turns.get(call_id)
        start = len(messages)
        while start and messages[start - 1].role is Role.ASSISTANT:
            start -= 1
        if turn is not None and self._is_of(turn, messages, start) and _is_same_call(turn.messages[-1], call):
            self._turns.move_to_end(call_id)
            messages[start:] = turn.messages
        else:
            messages.append(call)

    def _is_of(self, turn: _Turn, messages: Sequence[Message], start: int) -> bool:
        """Whether this is the conversation that the turn belongs to; what the model said last begins at `start`."""
        # Each message is hashed once: those before an earlier call are still the same.
        self._hash, self._count = _hash(islice(messages, self._count, start), self._hash), start
        texts = {message.text for message in turn.messages} | {said(turn.messages)}
        return turn.before == self._hash and all(each.text in texts for each in messages[start:])


def said(messages: Sequence[Message]) -> str:
    """What the model says to the user in these messages, as Chat Completions gives it: in one text."""
    spoken = (each for each in messages if each.role is Role.ASSISTANT and not each.calls_tool)
    return GAP.join(each.text for each in spoken if each.channel != "analysis" and each.text)


def _hash(messages: Iterable[Message], before: int = _NOTHING) -> int:
    """Of a conversation, whose beginning has the hash `before`, without the instructions at its front, which a client
    may change in the midst of a turn."""
    for message in messages:
        if message.role is not Role.SYSTEM:
            before = hash((before, message))
    return before


def _is_same_call(known: Message, call: Message) -> bool:
    """Whether the arguments are the same, however they are written; a custom tool's text may have come without JSON."""
    return known.text == call.text or _arguments(known.text) == _arguments(call.text)


def _arguments(text: str) -> Any:
    try:
        return parse_json(text.encode("utf-8", "replace"))
    except ValueError:
        return {CUSTOM_INPUT: text}
