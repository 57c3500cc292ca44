"""Messages to token ids, as gpt-oss was trained on them: never through a string, so no text can forge markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlx_model.errors import TokenizerError
from mlx_model.harmony.message import CONSTRAIN, Message, Role
from mlx_model.harmony.tokenizer import Tokenizer


class Renderer:
    """Renders with the special tokens of one tokenizer. Immutable."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises TokenizerError if the tokenizer lacks a token of the Harmony format."""
        names = ("<|start|>", "<|channel|>", CONSTRAIN, "<|message|>", "<|end|>", "<|call|>", "<|return|>")
        if missing := [name for name in names if name not in tokenizer.special]:
            raise TokenizerError(f"tokenizer.json lacks {', '.join(missing)}: it is not a tokenizer of gpt-oss")
        self._encode = tokenizer.encode
        (self._start, self._channel, self._constrain, self._message, self._end, self._call, self._return) = (
            tokenizer.special[name] for name in names
        )

    @property
    def opening(self) -> list[int]:
        """The ids that a message of the model's begins with."""
        return [self._start, *self._encode(Role.ASSISTANT)]

    @property
    def thought_to_answer(self) -> list[int]:
        """The ids that end a message of the model's and begin its final one, as it writes them itself."""
        return [self._end, *self.opening, self._channel, *self._encode("final"), self._message]

    def text_begins(self, ids: Sequence[int]) -> int:
        """Where the text of a message begins, behind its header."""
        return ids.index(self._message) + 1

    def prompt(
        self,
        messages: Iterable[Message],
        sampled: Mapping[Message, Sequence[int]] | None = None,
        unfinished: Message | None = None,
    ) -> list[int]:
        """The conversation and the opening of the model's answer: `<|start|>assistant`, or a message that the model has
        left `unfinished`, without its terminator.

        `sampled` has messages of the model whose ids are known (StreamParser.sampled): those ids are taken, so that the
        prompt matches what the KV cache already holds even where the model has split a text in its own way.
        """
        opening = self.conversation([unfinished], sampled)[:-1] if unfinished else self.opening
        return self.conversation(messages, sampled) + opening

    def conversation(
        self, messages: Iterable[Message], sampled: Mapping[Message, Sequence[int]] | None = None
    ) -> list[int]:
        """The ids of all messages, one after the other."""
        known = sampled or {}
        ids: list[int] = []
        for message in messages:
            ids += known[message] if message in known else self.message(message)
        return ids

    def training(self, messages: Iterable[Message]) -> list[int]:
        """The conversation as in training: a final message at its end closes with `<|return|>`."""
        messages = list(messages)
        ids = self.conversation(messages)
        if messages and messages[-1].role is Role.ASSISTANT and messages[-1].channel == "final":
            ids[-1] = self._return
        return ids

    def message(self, message: Message) -> list[int]:
        """The ids of one message from `<|start|>` to its terminator: `<|call|>` if the model speaks to a tool, else
        `<|end|>`. Header fields and text are encoded each by itself. Raises ValueError for a tool without a name."""
        encode = self._encode
        ids = [self._start, *encode(_author(message))]
        if message.recipient is not None and message.recipient != "all":
            ids += encode(f" to={message.recipient}")
        if message.channel is not None:
            ids += [self._channel, *encode(message.channel)]
        if message.content_type is not None:
            kind = message.content_type
            if kind.startswith(CONSTRAIN):
                ids += [*encode(" "), self._constrain, *encode(kind.removeprefix(CONSTRAIN))]
            else:
                ids += encode(f" {kind}")
        calls = message.role is Role.ASSISTANT and message.recipient is not None
        return [*ids, self._message, *encode(message.text), self._call if calls else self._end]


def _author(message: Message) -> str:
    if message.role is Role.TOOL:
        if not message.name:
            raise ValueError("a tool's message needs the tool's name")
        return message.name
    return f"{message.role}:{message.name}" if message.name else message.role.value
