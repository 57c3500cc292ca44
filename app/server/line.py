"""The engine and who waits for it: as many requests as it answers together, in the order of coming."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol

from app.chat.loop import TurnEvent
from app.engine.engine import Engine, EngineDied, ServedEngine
from app.engine.protocol import Answer, Load, Loading, LoadProgress, Ready
from app.server.errors import ApiError, busy, changing, of_engine, stopping
from mlx_model.errors import GptossError
from mlx_model.events import Finished

MOST_WAITING = 32
"""Requests that wait beside those that run; another one is told to come back later."""


class Work(Protocol):
    """What a request wants of the engine."""

    def events(self, engine: Engine) -> AsyncGenerator[TurnEvent, None]:
        """Asks the engine, once or more often; each answer ends with Finished."""
        ...

    async def cancel(self, engine: Engine) -> None:
        """Ends the answer under way; Finished("cancelled") follows. `engine` is that of `events`."""
        ...


class Line:
    """Requests to one engine. An engine that has died is started anew for the next of them."""

    def __init__(
        self,
        engine: ServedEngine,
        load: Load,
        announce: Callable[[Loading | LoadProgress | Ready], None] = lambda reply: None,
        *,
        parallel: int | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """`announce` hears how each load goes. The engine gets `parallel` requests at once, by default as many as it
        says that it can."""
        self.ready: Ready | None = None
        """What is loaded, None while it isn't."""
        self._engine = engine
        self._load = load
        self._loads: asyncio.Task[None] | None = None  # it goes on where the request that needed it is given up
        self._loading = load  # what that loads
        self._announce = announce
        self._most_waiting = most_waiting
        self._parallel = parallel
        self._runs: list[Run] = []
        self._is_stopping = False

    @property
    def engine(self) -> ServedEngine:
        """The engine that answers."""
        return self._engine

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return max(len(self._runs) - self.parallel, 0)

    @property
    def running(self) -> int:
        """Requests that the engine has."""
        return len(self._runs) - self.waiting

    @property
    def parallel(self) -> int:
        """Requests that the engine may have at once. One has it load."""
        return 1 if self.ready is None else self._parallel or self.ready.parallel

    async def load(self, load: Load | None = None) -> Ready:
        """Loads the model, if it isn't; who asks meanwhile waits. Another one, by `load`, takes its place at once: the
        requests that run or wait end. Raises EngineError or EngineDied."""
        if load is not None and load != self._load:
            self._load, self.ready = load, None
            for run in [*self._runs]:
                run.end(changing())
        if self.ready is not None and self._engine.alive:
            return self.ready
        return await self._loaded()

    def join(self, work: Work) -> "Run":
        """Stands a request in line. Raises ApiError if too many wait, or the server is about to end."""
        if self._is_stopping:
            raise stopping()
        if len(self._runs) >= self.parallel + self._most_waiting:
            raise busy(f"{self._most_waiting} requests wait already; try again in a few seconds")
        run = Run(self, work)
        self._runs.append(run)
        self._call()
        return run

    def leave(self, run: "Run") -> None:
        """A request is over."""
        self._runs.remove(run)
        self._call()

    def place(self, run: "Run") -> int:
        """How many have to end before a request runs; 0 while it does."""
        return max(self._runs.index(run) + 1 - self.parallel, 0) if run in self._runs else 0

    def _call(self) -> None:
        """Lets those run whose turn it is."""
        for run in self._runs[: self.parallel]:
            run.turn.set()

    async def events(self, work: Work, engine: Engine) -> AsyncGenerator[TurnEvent, None]:
        """What the engine brings of a request whose turn it is; `engine` is its share of it.

        An engine that was dead already, or killed for an earlier answer that hung, is not this request's fault: where
        it has brought nothing yet, another one is asked.
        """
        for is_last_try in (False, True):
            await self._loaded()
            has_begun = False
            try:
                async with aclosing(work.events(engine)) as events:
                    async for event in events:
                        has_begun = True
                        yield event
                return
            except EngineDied as death:
                if is_last_try or has_begun or death.memory:
                    raise

    async def stop(self) -> None:
        """Ends all requests: each client hears of it."""
        self._is_stopping = True
        for run in [*self._runs]:
            run.end(stopping())

    async def _loaded(self) -> Ready:
        while self.ready is None or not self._engine.alive:
            if self._loads is None or self._loads.done():
                self._loading = self._load
                self._loads = asyncio.create_task(self._begin_load(self._load))
                self._loads.add_done_callback(lambda task: task.cancelled() or task.exception())
            loading = self._loading
            try:
                await asyncio.shield(self._loads)
            except GptossError:
                if loading == self._load:  # and not another one that is wanted meanwhile
                    raise
        return self.ready

    async def _begin_load(self, load: Load) -> None:
        self.ready = None
        async for reply in self._engine.load(load):
            self._announce(reply)
            if isinstance(reply, Ready) and load == self._load:  # or another one is wanted meanwhile
                self.ready = reply
                self._call()


class Run:
    """One request: it waits and runs in a task of its own, so that its end is the same however the client leaves."""

    def __init__(self, line: Line, work: Work) -> None:
        self._line, self._work = line, work
        self.engine = line.engine.share()
        """The engine, for this request alone."""
        self.turn = asyncio.Event()
        """Whether the engine may have it."""
        self._inbox = asyncio.Queue[TurnEvent | ApiError | None]()  # None ends it
        self._is_over = False
        self._task = asyncio.create_task(self._go())
        self._task.add_done_callback(self._ended)  # also of one that is cancelled before it has begun

    @property
    def place(self) -> int:
        """How many requests have to end before it runs; 0 while it does."""
        return self._line.place(self)

    async def events(self, pulse_s: float) -> AsyncIterator[TurnEvent | None]:
        """What comes, up to the last Finished; None whenever nothing has for `pulse_s` seconds. Raises ApiError.

        Whoever stops reading before the end calls `end`.
        """
        while True:
            try:
                async with asyncio.timeout(pulse_s):  # not wait_for, which can lose a cancel in Python 3.11
                    item = await self._inbox.get()
            except TimeoutError:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, ApiError):
                raise item
            yield item

    def end(self, error: ApiError | None = None) -> None:
        """Ends the request at once, in the engine too; who still reads gets the error. Nothing if it is over."""
        if not self._is_over:
            self._over(error)
            self._task.cancel()

    async def cancel(self) -> None:
        """Asks for the end: what has been answered so far is kept, and Finished("cancelled") follows."""
        if self.place == 0 and not self._is_over:
            await self._work.cancel(self.engine)
        elif not self._is_over:
            self._inbox.put_nowait(Answer(0, Finished("cancelled")))
            self.end()

    async def _go(self) -> None:
        try:
            await self.turn.wait()
            async with aclosing(self._line.events(self._work, self.engine)) as events:
                async for event in events:
                    self._inbox.put_nowait(event)
        except Exception as error:
            if not isinstance(error, GptossError):
                traceback.print_exc()
            self._over(of_engine(error))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._over()
        self._line.leave(self)

    def _over(self, error: ApiError | None = None) -> None:
        if not self._is_over:
            self._is_over = True
            self._inbox.put_nowait(error)
