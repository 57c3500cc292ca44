"""The bridge: one match statement turns the engine's events into what one answer shows on the screen."""

from collections import deque
from collections.abc import AsyncIterator
from time import monotonic

from app.chat.conversation import Node
from app.chat.thinking import Thinking
from app.engine.protocol import Answer
from app.tui.text.coalesce import Coalescer
from app.tui.widgets.messages import AnswerView
from app.tui.widgets.status import StatusLine
from mlx_model.events import Finished, MessageStart, PrefillProgress, Stats, TextDelta
from mlx_model.harmony.fold import Turn
from mlx_model.harmony.message import Message

SPEED_WINDOW_S = 2.0


class AnswerStream:
    """Follows one answer. `messages` is what a conversation keeps of it, partial ones included, at any moment.

    `begun` is an answer that was cut off, if it is this one that goes on: its messages and figures are the beginning.
    """

    def __init__(self, view: AnswerView, status: StatusLine, begun: Node | None = None) -> None:
        turn = begun.turn if begun is not None else None
        self._view = view
        self._status = status
        self._turn = Turn(begun.messages if begun is not None else ())
        self._before = turn.stats if turn is not None else Stats()
        self._thinking = Thinking(turn.analysis_s, turn.analysis_tokens) if turn is not None else Thinking()
        self._reading = self._writing = False
        self._ticks: deque[tuple[float, int]] = deque()
        self._asked = 0.0

    @property
    def messages(self) -> list[Message]:
        """The messages of the answer so far."""
        return self._turn.messages

    @property
    def finished(self) -> Finished | None:
        """How the answer ended, with its counts; None while it goes on, and for good if the engine died."""
        end = self._turn.finished
        return None if end is None else Finished(end.reason, self._before.followed_by(end.stats))

    @property
    def stats(self) -> Stats:
        """What the answer has cost, as far as that is known."""
        return self._before if self.finished is None else self.finished.stats

    @property
    def analysis_s(self) -> float:
        """How long the model has thought, in seconds."""
        return self._thinking.seconds(monotonic())

    @property
    def analysis_tokens(self) -> int:
        """In how many tokens."""
        return self._thinking.tokens

    async def run(self, answers: AsyncIterator[Answer]) -> None:
        """Show events until the answer ends. Raises what the iterator raises, everything received being shown."""
        coalescer = Coalescer(self._flush)
        self._asked = monotonic()
        try:
            async for answer in answers:
                self._turn.take(answer.event)
                self._thinking.take(answer.event, monotonic(), answer.deltas)
                self._show(answer)
                coalescer.poke()
        finally:
            await coalescer.close()
            self._status.speed, self._status.ttft, self._status.reused = 0.0, 0.0, 0

    def _show(self, answer: Answer) -> None:
        match answer.event:
            case PrefillProgress(done=done, total=total):
                if not self._reading:  # the first of them says what the cache had
                    self._reading, self._status.reused = True, done
                self._say("reading")
                self._status.used = total
                if done < total:
                    self._view.wait(f"reading the prompt: {done:,} of {total:,} tokens")
            case MessageStart(channel=channel, recipient=recipient):
                self._begin(channel, recipient)
            case TextDelta(channel=channel, recipient=recipient):
                if not self._writing:  # inside a message that was begun before
                    self._begin(channel, recipient)
                self._count(answer.deltas)
                self._status.used += answer.deltas
            case Finished(stats=stats):
                self._status.used = stats.reused_tokens + stats.prefill_tokens + stats.decode_tokens
                self._status.memory = max(self._status.memory, stats.peak_memory_bytes)

    def _begin(self, channel: str, recipient: str | None) -> None:
        if not self._writing:
            self._writing, self._status.ttft = True, monotonic() - self._asked
        self._say("thinking" if channel == "analysis" and recipient is None else "answering")
        self._view.wait("")

    def _say(self, state: str) -> None:
        if self._status.state != "stopping":  # that holds until it has stopped
            self._status.state = state

    def _count(self, tokens: int) -> None:
        now = monotonic()
        self._ticks.append((now, tokens))
        while now - self._ticks[0][0] > SPEED_WINDOW_S:
            self._ticks.popleft()

    async def _flush(self) -> None:
        if len(self._ticks) > 1 and (elapsed := self._ticks[-1][0] - self._ticks[0][0]) > SPEED_WINDOW_S / 4:
            tokens = sum(count for _, count in self._ticks) - self._ticks[0][1]
            self._status.speed = tokens / elapsed
        await self._view.show(self.messages, self.analysis_s, self.analysis_tokens)
