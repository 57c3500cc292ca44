"""Where the model was told that it has to call a tool: a later prompt says it again there, and matches the KV cache."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from mlx_model.harmony.message import Message
from mlx_model.harmony.prompt import developer_message

_MOST = 1000
"""Answers of which that is remembered."""


class CallSentences:
    """ToolChoice's sentences, each by the message that was answered and the first one of the answer.

    Once that first message is an old thought and leaves the prompt, so does the sentence.
    """

    def __init__(self) -> None:
        self._sentences: dict[tuple[Message, Message], str] = {}

    def add(self, before: Message, answer: Sequence[Message], sentence: str) -> None:
        """Takes an answer, of which the model may have been told nothing."""
        if not answer or not sentence:
            return
        self._sentences.pop((before, answer[0]), None)
        self._sentences[before, answer[0]] = sentence
        if len(self._sentences) > _MOST:
            del self._sentences[next(iter(self._sentences))]

    def among(self, messages: Iterable[Message]) -> list[Message]:
        """A conversation with the sentences in their places."""
        messages = list(messages)
        found = messages[:1]
        for before, message in pairwise(messages):
            if (sentence := self._sentences.get((before, message))) is not None:
                found.append(developer_message(sentence))
            found.append(message)
        return found
