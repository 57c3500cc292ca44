"""Fold the events of one answer into its messages: for the terminal, `generate` and a server alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from mlx_model.events import Event, Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.calls import ToolCall, read_call
from mlx_model.harmony.message import Message, Role


class FoldedAnswer:
    """One answer as far as its events have come: `take` them in order and read everything else at any time.

    `unfinished` has the messages of an answer that was cut off and goes on here, inside the last of them.
    Messages that the model begins to write in another role are no part of its answer and are left out.
    """

    def __init__(self, unfinished: Sequence[Message] = ()) -> None:
        self.complete: list[Message] = list(unfinished)
        """The messages that have ended."""
        self.finished: Finished | None = None
        """The last event, once the answer has ended."""
        self._open: Message | None = None  # the message that is being written, for its header
        self._texts: list[str] = []
        if unfinished and unfinished[-1].role is Role.ASSISTANT:
            self._open = self.complete.pop()
            self._texts = [self._open.text]

    def take(self, event: Event) -> None:
        """Adds one event. A message that never gets its MessageEnd is complete when the next begins, or at the end."""
        match event:
            case MessageStart():
                self._close()
                self._open = _opened(event)
            case TextDelta(channel=channel, text=text, recipient=recipient):
                if self._open is None:
                    self._open = _opened(MessageStart(channel, recipient))
                self._texts.append(text)
            case MessageEnd(message=message):
                self._open, self._texts = None, []
                if message.role is Role.ASSISTANT:
                    self.complete.append(message)
            case Finished():
                self._close()
                self.finished = event

    def add(self, result: Message) -> None:
        """Adds what a tool has answered, before the model goes on in another round."""
        self._close()
        self.complete.append(result)

    @property
    def writing(self) -> Message | None:
        """The message that is being written: its header and its text so far."""
        if self._open is None or self._open.role is not Role.ASSISTANT:
            return None
        self._texts = ["".join(self._texts)]
        return replace(self._open, text=self._texts[0])

    @property
    def messages(self) -> list[Message]:
        """All messages, and the text so far of the one that is being written: what a conversation keeps at any time."""
        writing = self.writing
        return [*self.complete, *([writing] if writing is not None and writing.text else [])]

    @property
    def text(self) -> str:
        """What is meant for the user."""
        return self.on("final")

    @property
    def analysis(self) -> str:
        """The chain of thought."""
        return self.on("analysis")

    def on(self, channel: str) -> str:
        """The texts on a channel that call no tool, with a blank line between."""
        texts = [message.text for message in self.messages if message.channel == channel and not message.recipient]
        return "\n\n".join(filter(None, texts))

    def calls(self, known: Collection[str] | None = None) -> list[ToolCall]:
        """The tool calls of the messages that are complete; `known` as for `read_call`.

        One in which the answer was cut off is not among them: half a program is not to be run.
        """
        cut_off = self.finished is not None and self.finished.reason not in ("stop", "tool_call", "tool_limit")
        calls = [read_call(message, known) for message in self.complete[: -1 if cut_off else None]]
        return [call for call in calls if call is not None]

    def _close(self) -> None:
        self.complete = self.messages
        self._open, self._texts = None, []


def _opened(start: MessageStart) -> Message:
    return Message(Role(start.role), "", None, start.channel, start.recipient, start.content_type)


def fold(events: Iterable[Event]) -> FoldedAnswer:
    """The whole of an answer."""
    answer = FoldedAnswer()
    for event in events:
        answer.take(event)
    return answer
