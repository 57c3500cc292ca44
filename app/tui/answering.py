"""The bridge: one match statement turns the engine's events into what one answer shows on the screen."""

from collections import deque
from collections.abc import AsyncIterator
from time import monotonic

from app.engine.protocol import Answer
from app.tui.coalesce import Coalescer
from app.tui.widgets.messages import AnswerView
from app.tui.widgets.status import StatusLine
from mlx_model.events import Finished, MessageEnd, MessageStart, PrefillProgress, TextDelta
from mlx_model.harmony.fold import Turn
from mlx_model.harmony.message import Message

SPEED_WINDOW_S = 2.0


class AnswerStream:
    """Follows one answer. `messages` is what a conversation keeps of it, partial ones included, at any moment."""

    def __init__(self, view: AnswerView, status: StatusLine) -> None:
        self._view = view
        self._status = status
        self._turn = Turn()
        self._thinking_since: float | None = None
        self._thought_s = 0.0
        self._ticks: deque[tuple[float, int]] = deque()

    @property
    def messages(self) -> list[Message]:
        """The messages of the answer so far."""
        return self._turn.messages

    @property
    def finished(self) -> Finished | None:
        """How the answer ended, with its counts; None while it goes on, and for good if the engine died."""
        return self._turn.finished

    async def run(self, answers: AsyncIterator[Answer]) -> None:
        """Show events until the answer ends. Raises what the iterator raises, everything received being shown."""
        coalescer = Coalescer(self._flush)
        try:
            async for answer in answers:
                self._turn.take(answer.event)
                self._show(answer)
                coalescer.poke()
        finally:
            await coalescer.close()
            self._status.speed = ""

    def _show(self, answer: Answer) -> None:
        draft = self._view.draft
        match answer.event:
            case PrefillProgress(done=done, total=total):
                self._status.state = "reading"
                self._status.used = total
                if done < total:
                    self._view.wait(f"reading the prompt: {done:,} of {total:,} tokens")
            case MessageStart(channel=channel):
                self._stop_clock()
                if channel == "analysis":
                    self._thinking_since = monotonic()
                self._status.state = "thinking" if channel == "analysis" else "answering"
                self._view.wait("")
            case TextDelta(channel=channel, text=text, recipient=recipient):
                self._count(answer.deltas)
                if channel == "analysis":
                    draft.analysis += text
                    draft.analysis_tokens += answer.deltas
                elif channel == "final" and recipient is None:
                    draft.final += text
                else:
                    draft.commentary += text
            case MessageEnd(message=message):
                self._stop_clock()
                if message.channel == "analysis" and draft.analysis:
                    draft.analysis = draft.analysis.rstrip() + "\n\n"
            case Finished(stats=stats):
                self._stop_clock()
                self._status.used = stats.reused_tokens + stats.prefill_tokens + stats.decode_tokens

    def _stop_clock(self) -> None:
        if self._thinking_since is not None:
            self._thought_s += monotonic() - self._thinking_since
            self._thinking_since = None

    def _count(self, tokens: int) -> None:
        now = monotonic()
        self._ticks.append((now, tokens))
        while now - self._ticks[0][0] > SPEED_WINDOW_S:
            self._ticks.popleft()

    async def _flush(self) -> None:
        since = self._thinking_since
        self._view.draft.analysis_s = self._thought_s + (monotonic() - since if since is not None else 0.0)
        if len(self._ticks) > 1 and (elapsed := self._ticks[-1][0] - self._ticks[0][0]) > SPEED_WINDOW_S / 4:
            tokens = sum(count for _, count in self._ticks) - self._ticks[0][1]
            self._status.speed = f"{tokens / elapsed:.0f} tok/s"
        await self._view.refresh_draft()
