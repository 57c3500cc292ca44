"""An engine whose every event a test decides, and the patience a test of an asynchronous screen needs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from textual.pilot import Pilot

from app.engine.client import EngineDied
from app.engine.protocol import Answer, Load, Loading, Ready
from app.tui.app import ChatApp
from app.tui.text.first_run import Found
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import Message, assistant
from mlx_model.options import Options

STATS = Stats(prefill_tokens=40, reused_tokens=312, decode_tokens=22, ttft_s=0.31, decode_s=0.5)
FOUND = Found(
    chip="Apple M2",
    memory=16 * 2**30,
    free=210_300_000_000,
    fits=True,
    fit="10.98 GB of weights, a context of 24,576 tokens, at most 11.45 GB in all",
    missing="",
    present=0,
    complete=False,
    verified=False,
)
"""What the first run would find on some Mac; the figures are made up."""


class FakeEngine:
    """Loads at once unless `hold` is set; an answer is what `say` puts in, up to Finished."""

    def __init__(
        self, *, hold: bool = False, model: str = "gpt-oss-20b", load_errors: Sequence[Exception] = ()
    ) -> None:
        self.alive = False
        self.asked: list[tuple[list[Message], Options, str | None]] = []
        self.cancelled = 0
        self.models: list[str | None] = []
        """What each load asked for."""
        self.closed = False
        self._model = model
        self.load_errors = list(load_errors)
        self._gate = asyncio.Event()
        self._inbox: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self._death: asyncio.Future[EngineDied] = asyncio.Future()
        if not hold:
            self._gate.set()

    @property
    def loads(self) -> int:
        """How often it was asked to load."""
        return len(self.models)

    def hold(self) -> None:
        """Let the next load wait."""
        self._gate.clear()

    def release(self) -> None:
        """Let the load end."""
        self._gate.set()

    async def load(self, wanted: Load) -> AsyncIterator[Loading | Ready]:
        self.models.append(wanted.model)
        self.alive = True
        loaded = wanted.model or self._model
        yield Loading(loaded, default=wanted.model is None)
        await self._gate.wait()
        if self.load_errors:
            raise self.load_errors.pop(0)
        self._death = asyncio.Future()
        yield Ready(loaded, context_length=4096, resident_bytes=10_980_000_000, budget_bytes=11_450_000_000, load_s=2.0)

    async def ask(
        self, messages: Sequence[Message], options: Options, instructions: str | None = None
    ) -> AsyncIterator[Answer]:
        self.asked.append((list(messages), options, instructions))
        while True:
            item = await self._inbox.get()
            if isinstance(item, Exception):
                raise item
            yield Answer(len(self.asked), item)
            if isinstance(item, Finished):
                return

    def say(self, *items: Event | Exception) -> None:
        """The next things that the answer brings."""
        for item in items:
            self._inbox.put_nowait(item)

    def think(self, text: str) -> None:
        """An analysis message, word for word."""
        self.say(MessageStart("analysis"), *deltas("analysis", text), MessageEnd(assistant(text, "analysis")))

    def answer(self, text: str, *, analysis: str = "") -> None:
        """A whole answer."""
        if analysis:
            self.think(analysis)
        self.say(MessageStart("final"), *deltas("final", text), MessageEnd(assistant(text)), Finished("stop", STATS))

    async def cancel(self) -> None:
        self.cancelled += 1
        if self.asked:
            self.say(Finished("cancelled", STATS))

    def die(self, *, asking: bool) -> EngineDied:
        """End, as a killed process does: whoever waits hears of it."""
        self.alive = False
        death = EngineDied("the engine process was ended by signal 9 (SIGKILL)", ["out of memory"])
        if asking:
            self.say(death)
        self._death.set_result(death)
        return death

    async def died(self) -> EngineDied:
        return await asyncio.shield(self._death)

    async def close(self) -> None:
        self.closed = True
        if self.alive:
            self.die(asking=True)


def deltas(channel: str, text: str) -> list[TextDelta]:
    """A text in pieces of three characters."""
    return [TextDelta(channel, text[i : i + 3]) for i in range(0, len(text), 3)]


async def wait_until(pilot: Pilot[None], holds: Callable[[], object], what: str = "the condition") -> None:
    """Let the app run until `holds()` is true; fails after ten seconds."""
    for _ in range(500):
        if holds():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"waited in vain for {what}")


def app_of(pilot: Pilot[None]) -> ChatApp:
    """The app under test, with its type."""
    assert isinstance(pilot.app, ChatApp)
    return pilot.app


def text_on(pilot: Pilot[None]) -> str:
    """What stands on the screen, line by line."""
    width, height = pilot.app.size
    lines = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip)[:width] for strip in lines[:height])


def notified(pilot: Pilot[None]) -> str:
    """What the app has said in its corner."""
    return "\n".join(each.message for each in pilot.app._notifications)


def told(pilot: Pilot[None], text: str) -> bool:
    """Whether a notification says so."""
    return text in notified(pilot)


async def send(pilot: Pilot[None], text: str) -> None:
    """Put text into the input and press Enter."""
    app_of(pilot).composer.insert(text)
    await pilot.press("enter")


def chat(engine: FakeEngine, size: tuple[int, int] = (80, 24), **more):
    """The app, by default at the size of an old terminal."""
    return ChatApp(engine=engine, **more).run_test(size=size, notifications=True, tooltips=True)


async def idle(pilot: Pilot[None]) -> None:
    """Wait until nothing is under way."""
    await wait_until(pilot, lambda: app_of(pilot).status.state == "ready", "an idle engine")
    await pilot.pause()


async def ask(pilot: Pilot[None], engine: FakeEngine, prompt: str, text: str, analysis: str = "") -> None:
    """A whole turn."""
    engine.answer(text, analysis=analysis)
    before = len(app_of(pilot).conversation.messages)
    await send(pilot, prompt)
    await wait_until(pilot, lambda: len(app_of(pilot).conversation.messages) > before + 1, "the answer")
    await idle(pilot)


async def opened(pilot: Pilot[None], title: str) -> None:
    """Open the conversation of this title through the sidebar."""
    app = app_of(pilot)
    if not app.sidebar.display:
        await pilot.press("ctrl+b")
    await wait_until(pilot, lambda: any(p and title in p.title for p in app.sidebar.list.places), title)
    app.set_focus(app.sidebar.list)
    app.sidebar.list.highlighted = next(i for i, p in enumerate(app.sidebar.list.places) if p and title in p.title)
    await pilot.press("enter")
    await wait_until(pilot, lambda: app.conversation.title == title, title)
    await idle(pilot)
