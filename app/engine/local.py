"""The engine in this very process: the same protocol over the same backend as in the worker, without a pipe."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from typing import Any, TypeVar

from app.engine.backend import Backend, ModelBackend
from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Answer, Load, Loading, LoadProgress, Ready
from app.interrupt import Importing
from mlx_model.errors import ContextError, GptossError, RequestError
from mlx_model.request import Request

T = TypeVar("T")


@dataclass(slots=True)
class _UnderWay:
    """What an answer has been asked for meanwhile."""

    is_stopped: bool = False
    is_hurried: bool = False


class LocalEngine:
    """Computes in the thread that asks, one step for each event: what a script measures is then the model alone.

    For programs without a screen. Nothing else of the thread runs while a step is computed; between two events the
    event loop gets a turn, if there is one (see `drive`). GptossError of the backend becomes EngineError; any other
    exception is a bug and passes as it is.
    """

    def __init__(self, backend: Backend | None = None) -> None:
        """`backend` is by default the model itself."""
        self._backend = backend or _model_backend()
        self._numbers = count(1)
        self._under_way: dict[int, _UnderWay] = {}
        self._ended = asyncio.Event()
        self.alive = False
        """Whether it has been started, by `load`, and not closed since."""
        self.context_length = 0
        """See Engine."""
        self.progress: Callable[[LoadProgress], None] = lambda reply: None
        """Is told how far a load is, while nothing else of the thread runs."""

    async def load(self, request: Load) -> AsyncIterator[Loading | Ready]:
        """See Engine. Loading comes when the load is over, since the thread does nothing else until then."""
        self._ended.clear()
        self.alive = True
        announcements: list[Loading] = []
        failure: GptossError | None = None

        def announce(reply: Loading | LoadProgress) -> None:
            if isinstance(reply, Loading):
                announcements.append(reply)
            else:  # at once: how far it was is no news afterwards
                self.progress(reply)

        try:
            ready = self._backend.load(request, announce)
        except GptossError as error:
            failure = error
        for each in announcements:
            yield each
        if failure is not None:
            raise _declined(failure) from failure
        self.context_length = ready.context_length
        yield ready

    async def ask(self, request: Request) -> AsyncGenerator[Answer, None]:
        """See Engine. `stop` and `cancel` end all answers after the step that is computed: a token, a prefill chunk.

        Several that are read in tasks of one event loop are computed together: each gives way to the others before a
        step that it shares with them, and nowhere else.
        """
        if not self.alive:
            raise EngineDied("the engine isn't running")
        number, state = next(self._numbers), _UnderWay()
        self._under_way[number] = state
        events = self._backend.stream(request, lambda: state.is_stopped, lambda: state.is_hurried)
        try:
            for event in events:
                if event is not None:
                    yield Answer(number, event)
                if event is None or len(self._under_way) == 1:
                    await asyncio.sleep(0)
        except GptossError as error:
            raise _declined(error) from error
        finally:
            del self._under_way[number]
            if isinstance(events, Generator):  # an answer that is given up holds memory that others may wait for
                events.close()

    def stop(self) -> None:
        """Ask the answers under way to end. Returns at once, and may be called in a signal handler."""
        for state in [*self._under_way.values()]:
            state.is_stopped = True

    async def cancel(self) -> None:
        """See Engine."""
        self.stop()

    async def answer_now(self) -> None:
        """See Engine."""
        for state in self._under_way.values():
            state.is_hurried = True

    async def count(self, texts: Sequence[str]) -> list[int]:
        """See Engine."""
        try:
            return self._backend.count(texts)
        except GptossError as error:
            raise _declined(error) from error

    async def died(self) -> EngineDied:
        """See Engine: it ends by `close` alone, or with the program."""
        await self._ended.wait()
        return EngineDied("the engine was closed")

    async def close(self) -> None:
        """See Engine. A running answer is cancelled."""
        self.stop()
        self.alive = False
        self._ended.set()


def drive(client: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but a LocalEngine, in this thread and without an event loop.

    An event loop would take Ctrl-C for itself and deliver it after the step that is computed, which may be a whole
    load. Here it interrupts where it comes, as in any program. Raises RuntimeError if the coroutine waits for anything
    else.
    """
    try:
        while client.send(None) is None:
            pass
    except StopIteration as end:
        result: T = end.value
        return result
    client.close()
    raise RuntimeError("a client of the engine in this process can't wait for anything else")


def _model_backend() -> Backend:
    """The model itself. MLX is imported here: later Ctrl-C would break into it (see app.interrupt)."""
    with Importing():
        import_module("mlx_model.generation.session")
    return ModelBackend()


def _declined(error: GptossError) -> EngineError:
    too_long = isinstance(error, ContextError)
    about = error.about if isinstance(error, RequestError) else ""
    return EngineError(str(error), too_long or isinstance(error, RequestError), too_long, about)
