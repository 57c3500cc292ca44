"""The bridge: one match statement turns the engine's events into what one answer shows on the screen."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from app.chat.answer import AnswerRecord
from app.chat.loop import TurnEvent
from app.chat.waiting import others_first
from app.engine.protocol import Answer
from app.tui.text.answer_parts import LIVE_TAIL, Running
from app.tui.text.coalesce import Coalescer
from app.tui.text.progress import Reading
from app.tui.text.speed import Speed
from app.tui.widgets.status import ASKING, RUNNING, StatusLine
from mlx_model.events import Finished, MessageStart, PrefillProgress, Queued, TextDelta
from mlx_model.tools.loop import ToolDenied, ToolEvent, ToolFinished, ToolOutput, ToolStarted

if TYPE_CHECKING:
    from app.tui.widgets.messages import AnswerView

READING = "reading the prompt"


class AnswerStream:
    """Shows one answer as `record` takes it. `save` puts what there is on the disk: before a call of a tool is run, and
    when its result is there."""

    def __init__(
        self, view: "AnswerView", status: StatusLine, record: AnswerRecord, save: Callable[[], Awaitable[None]]
    ) -> None:
        self._view = view
        self._status = status
        self._record = record
        self._save = save
        self._running: Running | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._coalescer: Coalescer | None = None
        self._reading, self._writing = Reading(), False
        self._speed = Speed()
        self._new_tokens = 0  # that the status line doesn't count yet: every change of it draws the screen
        self._asked_at = 0.0
        self._is_queued = False

    def begin(self) -> None:
        """Say at once that the prompt is being read: the engine has it, or gets it now."""
        self._say("reading")
        self._view.wait(READING)

    async def run(self, turn: AsyncGenerator[TurnEvent, None]) -> None:
        """Show events until the turn ends. Raises what the turn raises, after showing everything received.

        The turn is closed at once whatever happens here: left to the garbage collector, its answer would go on.
        """
        coalescer = self._coalescer = Coalescer(self._flush)
        self._asked_at = monotonic()
        try:
            async with aclosing(turn) as events:
                self.begin()
                async for event in events:
                    if isinstance(event, Answer):
                        self._show(event)
                    else:
                        await self._show_tool(event)
                    coalescer.poke()
        finally:
            self._end_call()
            await coalescer.close()
            self._status.speed, self._status.ttft, self._status.progress = 0.0, 0.0, None
            self._status.circling = False

    def ask(self) -> None:
        """The person is asked about the call at the end; `answered` when they have answered."""
        self._running = replace(self._running or Running(), is_asked=True)
        self._status.progress = None
        self._say(ASKING)
        self._view.wait("")
        self._poke()

    def answered(self) -> None:
        """The person has answered. A call that has been running, and came to something new, goes on."""
        if self._running is not None:
            self._running = replace(self._running, is_asked=False)
            self._say(RUNNING)

    async def _show_tool(self, event: ToolEvent) -> None:
        match event:
            case ToolStarted():
                await self._save()
                self._running, self._ticking = Running(), asyncio.create_task(self._tick())
                self._say(RUNNING)
                self._view.wait("")
            case ToolOutput(text=text) if self._running is not None:
                self._running = replace(self._running, output=(self._running.output + text)[-LIVE_TAIL:])
            case ToolFinished() | ToolDenied():
                self._end_call()
                await self._save()
                self._writing = False
                self._say("reading")

    async def _tick(self) -> None:
        """Count the seconds that a tool runs."""
        while self._running is not None:
            await asyncio.sleep(1)
            if self._running is not None:
                self._running = replace(self._running, seconds=self._running.seconds + 1)
                self._poke()

    def _poke(self) -> None:
        if self._coalescer is not None:
            self._coalescer.poke()

    def _end_call(self) -> None:
        self._running = None
        if self._ticking is not None:
            self._ticking.cancel()

    def _show(self, answer: Answer) -> None:
        match answer.event:
            case Queued(before=before):
                self._is_queued = True
                self._say("waiting in line")
                self._view.wait(others_first(before))
            case PrefillProgress(done=done, total=total):
                if self._is_queued:
                    self._is_queued = False
                    self._view.wait(READING)
                progress = self._reading.take(done, total, monotonic())
                self._say("reading")
                self._use(total)
                self._status.estimated = False
                if done < total and progress is not None:
                    self._status.progress = progress
                    self._view.wait(f"{READING}: {progress.text}")
            case MessageStart(channel=channel, recipient=recipient):
                self._begin(channel, recipient)
            case TextDelta(channel=channel, recipient=recipient):
                if not self._writing:  # inside a message that an earlier answer began
                    self._begin(channel, recipient)
                self._speed.count(monotonic(), answer.deltas)
                self._new_tokens += answer.deltas
            case Finished(stats=stats):
                self._use(stats.reused_tokens + stats.prefill_tokens + stats.decode_tokens)
                self._status.memory = max(self._status.memory, stats.peak_memory_bytes)

    def _begin(self, channel: str, recipient: str | None) -> None:
        if not self._writing:
            self._writing, self._status.ttft = True, monotonic() - self._asked_at
        self._status.progress = None
        self._say("thinking" if channel == "analysis" and recipient is None else "answering")
        self._view.wait(self._status.state)  # until there is some of it to see

    def _use(self, tokens: int) -> None:
        """So many tokens of the context are in use."""
        self._status.used, self._new_tokens = tokens, 0

    def _say(self, state: str) -> None:
        if self._status.state != "stopping":  # that holds until it has stopped
            self._status.state = state

    async def _flush(self) -> None:
        thinking = self._record.thinking
        self._status.circling = thinking.under_way and thinking.repetition.found
        calls = self._record.call_facts
        seconds = thinking.seconds(monotonic())
        await self._view.show(self._record.messages, seconds, thinking.tokens, None, calls, self._running)
        self._status.speed = self._speed.value or self._status.speed
        self._use(self._status.used + self._new_tokens)
        if self._writing and self._record.messages:
            self._view.wait("")
