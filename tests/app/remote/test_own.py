"""The engine of another gptoss-chat: over a real server, all that the pipe brings, and how it is lost."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial

import pytest
from starlette.responses import Response

from app.chat.answer import AnswerRecord
from app.chat.pro import Pro
from app.engine.engine import EngineDied, EngineError
from app.engine.hello import Hello
from app.engine.protocol import Load, Ready
from app.remote import own
from app.remote.address import read_address
from app.remote.engine import RemoteEngine
from app.server.engine import EngineRoute
from app.server.guard import Policy
from mlx_model.events import Event, Finished, PrefillProgress, TextDelta
from mlx_model.harmony.message import Effort, Message, assistant, user
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.running_server import RunningServer, running
from tests.fixtures.scripted_engine import STATS, calls, message, says

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running(policy=Policy(token=TOKEN)) as running_server:
        yield running_server


@pytest.fixture
async def engine(server: RunningServer) -> AsyncIterator[RemoteEngine]:
    server.engine.script, server.engine.hurried = lambda request: says("Hello."), 0
    remote = RemoteEngine(read_address(server.url), TOKEN)
    yield remote
    await remote.close()


async def loaded(engine: RemoteEngine) -> Ready:
    (ready,) = [reply async for reply in engine.load(Load()) if isinstance(reply, Ready)]
    return ready


async def answered(engine: RemoteEngine, *messages: Message) -> list[Event]:
    async with aclosing(engine.ask(Request(messages or (user("Hi"),)))) as answers:
        return [answer.event async for answer in answers]


async def test_everything_of_an_answer_comes(server: RunningServer, engine: RemoteEngine) -> None:
    ready = await loaded(engine)
    assert (ready.model, ready.context_length, ready.note) == ("gpt-oss-20b", 4096, "")
    script = [PrefillProgress(100, 352), *calls("functions.f", '{"a": 1}', analysis="\u1e21\ud800")]
    server.engine.script = lambda request: script
    asked = user("Hi"), assistant("half an ans")  # to be continued in place
    assert await answered(engine, *asked) == script
    assert server.engine.asked[-1].messages == asked
    assert await engine.count(["one", "three"]) == [3, 5]


async def test_several_answers_are_those_of_their_seeds(server: RunningServer, engine: RemoteEngine) -> None:
    """Whether the server computes them together or one after the other."""
    server.engine.script = lambda request: says({7: "41", 8: "It is **42**.", 9: "42"}[request.options.seed or 0])
    await loaded(engine)
    request = Request((user("What is 6 * 7?"),), Options(seed=7))
    pro = Pro(request, [AnswerRecord(Effort.LOW) for _ in range(3)], "vote")
    async with aclosing(pro.events(engine, lambda: AnswerRecord(Effort.LOW), lambda: False)) as events:
        async for _ in events:
            pass
    assert [record.text for record in pro.records] == ["41", "It is **42**.", "42"]
    assert pro.outcome is not None and (pro.outcome.how, pro.outcome.chosen) == ("votes 2 of 3", 1)


async def test_a_cancelled_answer_keeps_its_figures(server: RunningServer, engine: RemoteEngine) -> None:
    server.engine.script = lambda request: [*message("Half")[:-1], None]
    await loaded(engine)
    events: list[Event] = []
    async with aclosing(engine.ask(Request((user("Hi"),)))) as answers:
        async for answer in answers:
            events.append(answer.event)
            if isinstance(answer.event, TextDelta):
                await engine.answer_now()
                await engine.cancel()
    assert events[-1] == Finished("cancelled", STATS) and server.engine.hurried == 1
    assert engine.alive


async def test_a_server_that_no_longer_reacts_is_lost_when_the_person_stops(
    server: RunningServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(route: EngineRoute, body: bytes) -> Response:
        while b'"Cancel"' in body and not is_over.is_set():
            await asyncio.sleep(0.005)
        return await respond(route, body)

    respond, is_over = EngineRoute.respond, threading.Event()
    monkeypatch.setattr(EngineRoute, "respond", hangs)
    monkeypatch.setattr(own, "REACTION_S", 0.05)
    server.engine.script = lambda request: [*message("Half")[:-1], None]
    await loaded(engine)
    with pytest.raises(EngineDied, match="did not stop the answer"):
        async with aclosing(engine.ask(Request((user("Hi"),)))) as answers:
            async for answer in answers:
                if isinstance(answer.event, TextDelta):
                    await engine.cancel()
    is_over.set()


async def test_a_cancel_that_arrives_before_its_request_counts(
    server: RunningServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long prompt may be on its way for seconds."""

    async def overtaken(route: EngineRoute, body: bytes) -> Response:
        if b'"Ask"' in body:
            is_asked.set()
            while not is_cancelled.is_set():
                await asyncio.sleep(0.005)
        response = await respond(route, body)
        if b'"Cancel"' in body:
            is_cancelled.set()
        return response

    respond, is_asked, is_cancelled = EngineRoute.respond, threading.Event(), threading.Event()
    monkeypatch.setattr(EngineRoute, "respond", overtaken)
    monkeypatch.setattr(own.OwnServer, "cancel_s", 2.0)
    server.engine.script = lambda request: [*message("Half")[:-1], None]
    await loaded(engine)
    answering = asyncio.create_task(answered(engine))
    await asyncio.to_thread(is_asked.wait)
    await engine.cancel()
    assert (await answering)[-1] == Finished("cancelled", STATS)
    assert engine.alive


async def is_told(server: RunningServer, engine: RemoteEngine) -> None:
    """Wait until the server's engine has been told to answer now, then end the answer."""
    async with asyncio.timeout(60):
        while server.engine.hurried == 0:
            await asyncio.sleep(0.005)
    await engine.cancel()


async def test_an_answer_now_that_arrives_before_its_request_counts(
    server: RunningServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overtaken(route: EngineRoute, body: bytes) -> Response:
        if b'"Ask"' in body:
            is_asked.set()
            await asyncio.to_thread(is_hurried.wait)
        response = await respond(route, body)
        if b'"AnswerNow"' in body:
            is_hurried.set()
        return response

    respond, is_asked, is_hurried = EngineRoute.respond, threading.Event(), threading.Event()
    monkeypatch.setattr(EngineRoute, "respond", overtaken)
    server.engine.script = lambda request: [*message("Half")[:-1], None]
    await loaded(engine)
    answering = asyncio.create_task(answered(engine))
    await asyncio.to_thread(is_asked.wait)
    await engine.answer_now()
    await is_told(server, engine)
    await answering


async def test_who_stops_while_it_connects_asks_nothing(
    server: RunningServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, is_connecting, go_on = engine._connect, asyncio.Event(), asyncio.Event()

    async def slowly(load: Load) -> Ready:
        is_connecting.set()
        await go_on.wait()
        return await connect(load)

    monkeypatch.setattr(engine, "_connect", slowly)
    asked = len(server.engine.asked)
    answering = asyncio.create_task(answered(engine))
    await is_connecting.wait()
    await engine.cancel()
    go_on.set()
    assert await answering == [Finished("cancelled")]
    assert len(server.engine.asked) == asked and engine.alive


async def test_who_wants_the_answer_while_it_connects_gets_it_without_a_thought(
    server: RunningServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, is_connecting, go_on = engine._connect, asyncio.Event(), asyncio.Event()

    async def slowly(load: Load) -> Ready:
        is_connecting.set()
        await go_on.wait()
        return await connect(load)

    monkeypatch.setattr(engine, "_connect", slowly)
    server.engine.script = lambda request: [*message("Half")[:-1], None]
    answering = asyncio.create_task(answered(engine))
    await is_connecting.wait()
    await engine.answer_now()
    go_on.set()
    await is_told(server, engine)
    await answering


async def test_a_given_up_answer_ends_on_the_server(server: RunningServer, engine: RemoteEngine) -> None:
    server.engine.script = lambda request: [*message("Half")[:-1], None]
    await loaded(engine)
    given_up = server.engine.given_up
    async with aclosing(engine.ask(Request((user("Hi"),)))) as answers:
        async for answer in answers:
            if isinstance(answer.event, TextDelta):
                break
    while server.engine.given_up == given_up:
        await asyncio.sleep(0.005)
    assert engine.alive


async def test_failures_of_the_engine_are_the_servers_to_mend(server: RunningServer, engine: RemoteEngine) -> None:
    for failure, flags in (
        (EngineError("too long", True, True), (True, True)),
        (EngineError("no such tool", True), (True, False)),
        (EngineError("no memory"), (False, False)),
        (EngineDied("killed"), (False, False)),
    ):
        server.engine.script = partial(lambda failure, request: [failure], failure)
        with pytest.raises(EngineError, match=str(failure)) as caught:
            await answered(engine)
        assert (caught.value.unusable, caught.value.too_long) == flags and engine.alive


async def test_who_is_not_let_in_hears_why(server: RunningServer) -> None:
    for token, said in ((None, "wants a token, which --token-file - asks for"), ("wrong", "refuses the token of here")):
        remote = RemoteEngine(read_address(server.url), token, "here")
        with pytest.raises(EngineError, match=said):
            await loaded(remote)
        await remote.close()


async def test_the_model_is_the_owners_to_choose(engine: RemoteEngine) -> None:
    with pytest.raises(EngineError, match="has gpt-oss-20b, which its owner has chosen"):
        [reply async for reply in engine.load(Load("gpt-oss-120b"))]


async def test_another_version_is_said_to_be_one(engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "own", lambda client: Hello("another", "9.9", client))
    with pytest.raises(EngineError, match=r"this is 9\.9, and they don't understand each other"):
        await loaded(RemoteEngine(read_address(engine._connection.address.base), TOKEN))


async def test_a_lost_connection_is_a_death_and_the_next_request_connects_again() -> None:
    with running() as first:
        first.engine.script = lambda request: [*message("Half")[:-1], None]
        remote = RemoteEngine(read_address(first.url))
        await loaded(remote)
        events: list[Event] = []
        with pytest.raises(EngineError, match="the server is stopping"):
            async with aclosing(remote.ask(Request((user("Hi"),)))) as answers:
                async for answer in answers:
                    events.append(answer.event)
                    if isinstance(answer.event, TextDelta):
                        first.stop()
        port = first.port
    death = asyncio.create_task(remote.died())
    with pytest.raises(EngineDied, match=f"127.0.0.1:{port} can't be reached: nobody answers") as caught:
        await answered(remote)
    assert await death is caught.value and not remote.alive
    with running(port=port) as again:
        assert (await answered(remote))[-1] == Finished("stop", STATS)
        assert remote.alive
        again.service.line.ready = Ready("another", 1, 1, 1, 0.1)
        with pytest.raises(EngineDied, match="has another model now: another"):
            await answered(remote)
    await remote.close()
