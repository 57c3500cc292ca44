"""Requests that the engine answers together: who runs, who waits, and what becomes of one when another ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Load, Loading, LoadProgress, Ready
from app.server.answering import OwnTools, Work
from app.server.declared import Declared
from app.server.errors import ApiError
from app.server.line import Line, Run
from mlx_model.events import Event, Finished, TextDelta
from mlx_model.harmony.message import user
from mlx_model.request import Request
from tests.fixtures.scripted_engine import STATS, ScriptedEngine, message, says


class Asking:
    """A line, and requests in it that say how they are answered."""

    def __init__(self, parallel: int, said: int | None = None) -> None:
        """`parallel` is what the engine says, `said` what the command line does."""
        self.engine = ScriptedEngine(self._script)
        self.engine.parallel = parallel
        self.line = Line(self.engine, Load(), parallel=said, most_waiting=2)
        self.scripts: dict[str, list[Event | Exception | None]] = {}

    def _script(self, request: Request) -> list[Event | Exception | None]:
        return self.scripts.get(request.messages[0].text, [*message("Half")[:-1], None])

    def ask(self, text: str) -> Run:
        return self.line.join(Work(Request((user(text),)), Declared(), OwnTools()))

    @property
    def asked(self) -> list[str]:
        """What the engine has been asked, in that order."""
        return [request.messages[0].text for request in self.engine.asked]

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(120):
            while not holds():
                await asyncio.sleep(0.001)


async def events_of(run: Run) -> list[object]:
    """The events of an answer to its end."""
    return [getattr(each, "event", None) async for each in run.events(10) if each is not None]


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    asking = Asking(2)
    await asking.line.load()
    yield asking
    await asking.line.stop()
    await asking.until(lambda: asking.line.running == 0)


async def test_as_many_run_as_the_engine_takes_and_the_next_is_called_when_one_ends(asking: Asking) -> None:
    runs = [asking.ask(text) for text in "abcd"]
    await asking.until(lambda: len(asking.asked) == 2)
    assert [run.place for run in runs] == [0, 0, 1, 2]
    assert (asking.line.running, asking.line.waiting) == (2, 2)
    with pytest.raises(ApiError, match="2 requests wait already"):
        asking.ask("e")
    runs[1].end()
    await asking.until(lambda: len(asking.asked) == 3)
    assert [run.place for run in (runs[0], *runs[2:])] == [0, 0, 1]
    runs[3].end()  # in the line
    asking.scripts["e"] = [*says("Hello.")]
    last = asking.ask("e")
    runs[0].end()
    assert Finished("stop", STATS) in await events_of(last)
    assert asking.asked == ["a", "b", "c", "e"]


async def test_the_command_line_says_how_many_and_one_loads_first() -> None:
    asking = Asking(8, said=3)
    runs = [asking.ask(text) for text in "ab"]
    assert [run.place for run in runs] == [0, 1]  # how many the engine takes is not known yet
    await asking.until(lambda: len(asking.asked) == 2)
    assert asking.engine.loads == 1 and asking.line.parallel == 3
    await asking.line.stop()
    await asking.until(lambda: asking.line.running == 0)


async def test_a_cancel_concerns_its_own_answer_alone(asking: Asking) -> None:
    runs = [asking.ask(text) for text in "ab"]
    others = runs[1].events(10)
    assert isinstance(await anext(others), object)
    await asking.until(lambda: len(asking.asked) == 2)
    await runs[0].cancel()
    assert (await events_of(runs[0]))[-1] == Finished("cancelled", STATS)
    await asking.until(lambda: asking.line.running == 1)
    assert runs[1].place == 0 and asking.engine.given_up == 0


async def test_an_engine_that_dies_ends_those_that_had_begun(asking: Asking) -> None:
    """One that it has brought nothing yet is asked again, once it is started anew."""
    death = EngineDied("it was killed")
    asking.scripts = {"begun": [TextDelta("final", "x"), None], "waits": [None]}
    begun, waits = asking.ask("begun"), asking.ask("waits")
    await asking.until(lambda: len(asking.asked) == 2)
    asking.scripts["waits"] = [*says("Hello.")]
    asking.engine.die(death)
    with pytest.raises(ApiError, match="it was killed"):
        await events_of(begun)
    assert Finished("stop", STATS) in await events_of(waits)
    assert asking.engine.loads == 2


async def test_another_model_ends_all_that_run(asking: Asking) -> None:
    runs = [asking.ask(text) for text in "abc"]
    await asking.until(lambda: len(asking.asked) == 2)
    await asking.line.load(Load("gpt-oss-120b"))
    for run in runs:
        with pytest.raises(ApiError, match="loads another model"):
            await events_of(run)
    assert asking.engine.loads == 2 and len(asking.asked) == 2


async def test_a_load_that_fails_is_not_that_of_another_model() -> None:
    """It is under way when another one is wanted, which is loaded behind it."""

    class Choosy(ScriptedEngine):
        def load(self, request: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
            self.load_error = EngineError("it is damaged") if request.model == "first" else None
            return super().load(request)

    engine = Choosy()
    line = Line(engine, Load("first"))
    first, other = await asyncio.gather(line.load(), line.load(Load("other")), return_exceptions=True)
    assert isinstance(other, Ready) and other is line.ready
    assert first is other, "who asked for any model has the one that is there"
    assert engine.loads == 2
