"""The pipe of a chat that shares its model: its requests in the line with those of others, and its choice of model."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import (
    Answer,
    AnswerNow,
    Ask,
    Cancel,
    Count,
    Counted,
    Failed,
    FromEngine,
    Load,
    Loading,
    LoadProgress,
    Ready,
    ToEngine,
    encode,
)
from app.server.answering import OwnTools, Work
from app.server.asked import Asked
from app.server.beside import ChatPipe
from app.server.declared import Declared
from app.server.errors import ApiError
from app.server.exchange import Service
from app.server.line import Line, Run
from app.server.log import MOST_BYTES, Log
from mlx_model.events import Finished, Queued
from mlx_model.harmony.message import user
from mlx_model.request import Request
from tests.fixtures.scripted_engine import ScriptedEngine, message, says

HI = Request((user("Hi"),))


class Chat:
    """The chat's end of a pipe, and other programs beside it."""

    def __init__(self) -> None:
        self.engine = ScriptedEngine()
        self.line = Line(self.engine, Load(), most_waiting=2)
        self.heard: list[FromEngine] = []
        self.service = Service(self.line, pulse_s=0.005)
        self.inbox = asyncio.StreamReader()
        self.pipe = ChatPipe(self.service, self.inbox, self.heard.append)

    def say(self, request: ToEngine) -> None:
        self.pipe.take(request)

    def other(self) -> Run:
        """Another program asks."""
        return self.line.join(Work(HI, Declared(), OwnTools()))

    def of(self, number: int) -> list[object]:
        """What has been heard of an answer, without its number."""
        return [reply.event for reply in self.heard if isinstance(reply, Answer) and reply.number == number]

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(120):
            while not holds():
                await asyncio.sleep(0.001)


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    chat = Chat()
    yield chat
    await chat.line.stop()
    await chat.until(lambda: chat.line.running == 0)


async def test_it_loads_asks_and_counts(chat: Chat) -> None:
    chat.say(Load("gpt-oss-20b"))
    await chat.until(lambda: [each for each in chat.heard if isinstance(each, Ready)])
    chat.say(Ask(3, HI))
    await chat.until(lambda: Finished in map(type, chat.of(3)))
    assert chat.of(3) == says("Hello.")
    chat.say(Count(4, ("four",)))
    await chat.until(lambda: Counted(4, (4,)) in chat.heard)
    chat.engine.load_error = EngineError("there is no such model")
    chat.say(Load("none"))
    await chat.until(lambda: Failed("there is no such model") in chat.heard)
    chat.engine.load_error = None
    assert chat.engine.loads == 2


async def test_the_first_request_says_which_model_before_anybody_else_asks(chat: Chat) -> None:
    load, loads = chat.engine.load, list[Load]()

    def noted(request: Load) -> AsyncIterator[Loading | LoadProgress | Ready]:
        loads.append(request)
        return load(request)

    chat.engine.load = noted  # type: ignore[method-assign]
    chat.inbox.feed_data(encode(Load("gpt-oss-20b")) + encode(Ask(1, HI)))
    await chat.pipe.begin()
    other = chat.other()
    chat.inbox.feed_eof()
    await chat.pipe.serve()
    await chat.until(lambda: Finished in map(type, chat.of(1)))
    assert [event async for event in other.events(1.0)]
    assert loads == [Load("gpt-oss-20b")]


async def test_it_hears_how_many_come_before_it_and_may_give_up(chat: Chat) -> None:
    chat.engine.script = lambda request: [None]
    others = [chat.other(), chat.other()]
    await chat.until(lambda: chat.engine.asked)
    chat.say(Ask(5, HI))
    await chat.until(lambda: chat.of(5) == [Queued(2)])
    chat.say(Ask(6, HI))
    await chat.until(lambda: any(isinstance(each, Failed) and each.number == 6 for each in chat.heard))  # it is full
    others[0].end()
    await chat.until(lambda: chat.of(5) == [Queued(2), Queued(1)])
    chat.say(AnswerNow(5))
    chat.say(Cancel(5))
    chat.say(Cancel(77))  # which nobody knows
    await chat.until(lambda: len(chat.of(5)) == 3)
    assert chat.of(5)[-1] == Finished("cancelled") and chat.engine.hurried == 0
    assert len(chat.engine.asked) == 2  # those of the others


async def test_a_cancel_ends_what_it_has_asked(chat: Chat) -> None:
    chat.engine.script = lambda request: [*message("Half")[:-1], None]
    chat.say(Ask(5, HI))
    await chat.until(lambda: chat.of(5))
    chat.say(AnswerNow(5))
    chat.say(Cancel(5))
    await chat.until(lambda: Finished in map(type, chat.of(5)))
    assert chat.engine.hurried == 1


async def test_another_model_ends_what_others_have_asked(chat: Chat) -> None:
    await chat.line.load(Load("gpt-oss-20b"))
    chat.engine.script = lambda request: [None]
    others = [chat.other(), chat.other()]
    await chat.until(lambda: chat.engine.asked)
    chat.say(Load("gpt-oss-20b"))  # the same
    await chat.until(lambda: len(chat.heard) == 1)
    assert chat.engine.loads == 1 and chat.line.running == 1
    chat.say(Load("gpt-oss-120b"))
    for run in others:
        with pytest.raises(ApiError, match="loads another model") as ended:
            _ = [event async for event in run.events(1.0)]
        assert ended.value.status == 503 and ended.value.headers == {"Retry-After": "5"}
    await chat.until(lambda: len(chat.heard) == 2)
    assert chat.engine.loads == 2


async def test_a_load_goes_on_when_the_request_that_needed_it_is_given_up(chat: Chat) -> None:
    release = asyncio.Event()
    load = chat.engine.load

    async def slow(request: Load) -> AsyncIterator[object]:
        async for reply in load(request):
            yield reply
            await release.wait()

    chat.engine.load = slow  # type: ignore[method-assign, assignment]
    first, second = chat.other(), chat.other()
    await chat.until(lambda: chat.engine.loads)
    first.end()
    release.set()
    assert [event async for event in second.events(1.0)][-1] == Answer(1, says("")[-1])
    assert chat.engine.loads == 1


async def test_an_engine_that_was_dead_already_is_no_failure_of_the_request(chat: Chat) -> None:
    def dying(times: int) -> Callable[[Request], list[object]]:
        left = iter([EngineDied("it was ended")] * times)
        return lambda request: [death] if (death := next(left, None)) else list(says("Hello."))

    for times, deaths in ((1, 0), (2, 1)):
        chat.engine.script = dying(times)  # type: ignore[assignment]
        asked = Asked(chat.service, 1, HI)
        failed = [reply async for reply in asked.replies() if isinstance(reply, Failed)]
        assert len(failed) == deaths
    chat.engine.script = lambda request: [EngineDied("memory ran out", memory=True)]
    before = len(chat.engine.asked)
    assert [reply async for reply in Asked(chat.service, 1, HI).replies() if isinstance(reply, Failed)]
    assert len(chat.engine.asked) == before + 1  # another try would end the same way


def test_the_log_is_bounded_and_its_owners_alone(tmp_path: Path) -> None:
    passed_on = (tmp_path / "stderr").open("w+")
    log = Log(tmp_path / "logs" / "server.log", passed_on)
    log.write("x" * MOST_BYTES)
    print("the last line", file=log)
    assert (tmp_path / "logs" / "server.log.1").stat().st_size > MOST_BYTES
    print("a new one", file=log)
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "logs").iterdir()} == {
        "server.log": 0o600,
        "server.log.1": 0o600,
    }
    passed_on.seek(0)
    assert passed_on.read().endswith("the last line\na new one\n")
    (tmp_path / "logs").rename(tmp_path / "elsewhere")
    (tmp_path / "logs").write_text("a file in place of the folder")
    print("no failure", file=log)
