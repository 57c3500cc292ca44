"""The engine client against a real worker process: answers, stop, every way to fail and to die."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from app.engine.client import EngineClient, death_of
from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Answer, Ask, Load, Loading, LoadProgress, Ready, ToEngine, encode
from mlx_model.events import Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import user
from mlx_model.request import Request
from tests.fixtures import FIXTURES

LOST = "a file of the model can't be read any more"
SCRIPTED = (sys.executable, str(FIXTURES / "scripted_worker.py"))


@pytest.fixture
async def engine() -> AsyncIterator[EngineClient]:
    client = EngineClient(SCRIPTED)
    yield client
    await client.close()
    assert not client.alive


@pytest.fixture
def hasty(engine: EngineClient) -> EngineClient:
    """The same with little patience, for processes that never stop: one that does may take longer on a busy machine."""
    engine._cancel_grace_s = 0.3
    return engine


async def load(engine: EngineClient, name: str | None = None) -> list[Loading | LoadProgress | Ready]:
    return [reply async for reply in engine.load(Load(name))]


async def ask(engine: EngineClient, text: str, instructions: str | None = None) -> list[Answer]:
    request = Request((user(text),), instructions=instructions)
    return [answer async for answer in engine.ask(request)]


def kill(engine: EngineClient) -> None:
    """End its process as the system does when memory runs out."""
    assert engine._process is not None
    os.kill(engine._process.pid, signal.SIGKILL)


def text_of(answers: list[Answer]) -> str:
    return "".join(a.event.text for a in answers if isinstance(a.event, TextDelta))


async def test_loads_and_answers(engine: EngineClient) -> None:
    assert await load(engine) == [Loading("scripted", True), Ready("scripted", 4096, 1 << 20, 1 << 30, 0.5)]
    assert engine.context_length == 4096
    answers = await ask(engine, "hello", instructions="> ")
    assert text_of(answers) == "> hello"
    assert answers[-1].event == Finished("stop", Stats(prefill_tokens=3, decode_tokens=2))
    assert text_of(await ask(engine, "again")) == "again"


async def test_one_that_runs_is_not_started_again(engine: EngineClient) -> None:
    await engine.start()
    first = engine._process
    await engine.start()
    assert engine._process is first


async def test_megabytes_pass_both_ways(engine: EngineClient) -> None:
    await load(engine)
    big = "数é\n" * 500_000
    assert text_of(await ask(engine, big)) == big


async def test_prints_of_libraries_do_not_reach_the_protocol(engine: EngineClient) -> None:
    await load(engine)
    assert text_of(await ask(engine, "noise")) == "noise"


async def test_it_counts_beside_an_answer_which_goes_on(engine: EngineClient) -> None:
    with pytest.raises(EngineDied):
        await engine.count(["a"])
    await load(engine)
    counts: list[int] = []
    reason = None
    async for answer in engine.ask(Request((user("forever"),))):
        match answer.event:
            case TextDelta() if not counts:
                counts = await engine.count(["one two", "", "three"])
                assert len(engine._inboxes) == 1
            case TextDelta():
                await engine.cancel()
            case Finished() as finished:
                reason = finished.reason
    assert (counts, reason) == ([2, 0, 1], "cancelled")


async def test_stop_is_not_meant_for_a_count(engine: EngineClient) -> None:
    await load(engine)
    counting = asyncio.create_task(engine.count(["one"]))
    while not engine._inboxes:
        await asyncio.sleep(0)
    assert engine._asked() == []
    assert await counting == [1]


async def test_cancel_ends_the_answer_and_the_engine_lives(engine: EngineClient) -> None:
    await load(engine)
    reason = None
    async for answer in engine.ask(Request((user("forever"),))):
        match answer.event:
            case TextDelta():
                await engine.cancel()
            case Finished() as finished:
                reason = finished.reason
    assert reason == "cancelled"
    assert text_of(await ask(engine, "next")) == "next"


async def test_who_shares_it_ends_no_answer_but_its_own(engine: EngineClient) -> None:
    await load(engine)
    one, other = engine.share(), engine.share()
    ended: list[object] = []
    async with contextlib.aclosing(other.ask(Request((user("in turn"),)))) as others:
        await anext(others)
        async for answer in one.ask(Request((user("in turn"),))):
            if isinstance(answer.event, TextDelta):
                await one.cancel()
            ended.append(answer.event)
        assert isinstance(ended[-1], Finished) and ended[-1].reason == "cancelled"
        heard = [await anext(others) for _ in range(50)]  # more than had piled up
        assert not any(isinstance(answer.event, Finished) for answer in heard)
        assert one.alive and other.context_length == 4096 and await one.count(["a b"]) == [2]
        await one.cancel()  # it has asked for nothing any more
        assert isinstance((await anext(others)).event, TextDelta)
    assert text_of(await ask(engine, "next")) == "next"


async def test_a_stop_that_was_obeyed_kills_nothing_later(engine: EngineClient) -> None:
    await load(engine)
    async for answer in engine.ask(Request((user("forever"),))):
        if isinstance(answer.event, TextDelta):
            await engine.cancel()
    engine._kill_if_asked(1)  # the timer, which may come a minute later
    assert text_of(await ask(engine, "next")) == "next"


async def test_a_thought_ends_when_the_answer_is_wanted_now(engine: EngineClient) -> None:
    await load(engine)
    answers = []
    async for answer in engine.ask(Request((user("think"),))):
        answers.append(answer.event)
        if answer.event == MessageStart("analysis"):
            await engine.answer_now()
    ends = [event.message.channel for event in answers if isinstance(event, MessageEnd)]
    assert ends == ["analysis", "final"]


async def test_a_load_is_not_what_is_stopped(engine: EngineClient) -> None:
    async for _ in engine.load(Load()):
        await engine.cancel()
    assert text_of(await ask(engine, "next")) == "next"


async def test_leaving_the_iterator_cancels(engine: EngineClient) -> None:
    await load(engine)
    answers = engine.ask(Request((user("forever"),)))
    await anext(answers)
    await answers.aclose()
    assert text_of(await ask(engine, "next")) == "next"


async def test_leaving_before_the_first_event_cancels(engine: EngineClient) -> None:
    await load(engine)
    asked = asyncio.create_task(ask(engine, "forever"))
    while not engine._inboxes:
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert text_of(await ask(engine, "next")) == "next"


async def test_an_engine_that_does_not_stop_is_killed(hasty: EngineClient) -> None:
    await load(hasty)
    asked = asyncio.create_task(ask(hasty, "hang"))
    await asyncio.sleep(0.05)
    await hasty.cancel()
    with pytest.raises(EngineDied, match="did not stop within"):
        await asked
    assert not hasty.alive


async def test_declined_prompt_says_so_and_the_engine_lives(
    engine: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(engine)
    sent: list[ToEngine] = []
    send = engine._send

    async def log(message: ToEngine) -> None:
        sent.append(message)
        await send(message)

    monkeypatch.setattr(engine, "_send", log)
    with pytest.raises(EngineError, match=r"9,999 tokens") as caught:
        await ask(engine, "too long")
    assert caught.value.unusable and not caught.value.about
    with pytest.raises(EngineError, match="can't be bound") as odd:
        await ask(engine, "odd")
    assert odd.value.unusable and odd.value.about == "form"
    assert [type(message) for message in sent] == [Ask, Ask]  # the worker would keep the number of a Cancel for ever
    assert text_of(await ask(engine, "short")) == "short"


async def test_failed_loads_leave_a_living_engine(engine: EngineClient) -> None:
    with pytest.raises(EngineError, match="no checkpoint called missing") as caught:
        await load(engine, "missing")
    assert not caught.value.unusable
    with pytest.raises(EngineError, match=r"RuntimeError: .*out of memory"):
        await load(engine, "bug")
    assert isinstance(ready := (await load(engine, "fine"))[-1], Ready) and ready.model == "fine"


async def test_exit_while_loading_keeps_the_last_lines(engine: EngineClient) -> None:
    with pytest.raises(EngineDied, match="exit code 3") as caught:
        await load(engine, "exit")
    assert caught.value.last_lines == ("libmetal: something is wrong",)


async def test_death_in_an_answer_names_the_signal_and_a_new_engine_starts(engine: EngineClient) -> None:
    await load(engine)
    seen = []
    with pytest.raises(EngineDied, match="killed, probably because memory ran out"):
        async for answer in engine.ask(Request((user("partial"),))):
            seen.append(answer)
            if isinstance(answer.event, TextDelta):
                kill(engine)
    assert text_of(seen) == "partial"
    with pytest.raises(EngineDied, match="isn't running"):
        await ask(engine, "anyone?")
    await load(engine)
    assert text_of(await ask(engine, "back")) == "back"


async def test_killed_from_outside_while_idle(engine: EngineClient) -> None:
    await load(engine)
    kill(engine)
    while engine.alive:
        await asyncio.sleep(0.01)
    with pytest.raises(EngineDied):
        await ask(engine, "hello")


async def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(EngineDied, match="could not be started"):
        await load(EngineClient(("/nonexistent/python",)))


async def test_a_process_that_speaks_something_else_is_ended() -> None:
    client = EngineClient((sys.executable, "-c", "print('hello'); input(); input()"))
    with pytest.raises(EngineDied, match="can't be read"):
        await load(client)
    assert not client.alive


async def test_closing_ends_the_process_without_force(engine: EngineClient) -> None:
    await load(engine)
    process = engine._process
    assert process is not None
    await engine.close()
    assert process.returncode == 0 and str(await engine.died()) == "the engine was closed"


async def test_one_that_does_not_end_is_killed() -> None:
    command = (sys.executable, "-c", "import sys, time; print('x' * 9000, file=sys.stderr, flush=True); time.sleep(60)")
    client = EngineClient(command, close_grace_s=0.1)
    await client.start()
    await asyncio.wait_for(client.close(), 120)
    death = await client.died()
    assert not client.alive and str(death) == "the engine was closed"
    assert all(len(line) == 500 for line in death.last_lines)


async def test_one_that_never_ran_has_died_and_closes() -> None:
    client = EngineClient(SCRIPTED)
    await client.close()
    assert not client.alive and str(await client.died()) == "the engine isn't running"


@pytest.mark.parametrize(
    ("status", "lines", "reason", "memory"),
    [
        (0, [], "the engine ended by itself", False),
        (3, [], "the engine ended by itself with exit code 3", False),
        (-9, [], "the engine was killed, probably because memory ran out", True),
        (-6, ["[METAL] Insufficient Memory"], "the engine crashed because memory ran out (SIGABRT)", True),
        (-6, ["assertion failed"], "the engine crashed (SIGABRT)", False),
        (-11, [], "the engine crashed (SIGSEGV)", False),
        (-signal.SIGBUS, [], f"the engine crashed, probably because {LOST} (cut off, or its disk is gone)", False),
        (-15, [], "the engine was ended from outside (SIGTERM)", False),
        (-99, [], "the engine crashed (signal 99)", False),
    ],
)
def test_how_it_ended_in_words(status: int, lines: list[str], reason: str, memory: bool) -> None:
    death = death_of(status, lines)
    assert (str(death), death.memory, death.last_lines) == (reason, memory, tuple(lines))


async def test_asks_are_answered_in_turn(engine: EngineClient) -> None:
    await load(engine)
    both = await asyncio.gather(ask(engine, "one"), ask(engine, "two"))
    assert [text_of(answers) for answers in both] == ["one", "two"]
    assert [next(a for a in answers if isinstance(a.event, MessageEnd)).number for answers in both] == [1, 2]


def test_worker_ends_with_its_standard_input_even_while_busy() -> None:
    worker = subprocess.Popen(SCRIPTED, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(encode(Ask(1, Request((user("hang"),)))))
    worker.stdin.flush()
    worker.stdin.close()
    assert worker.wait(timeout=120) == 0
    worker.stdout.close()


def test_worker_refuses_garbage_with_an_exit_code() -> None:
    done = subprocess.run(SCRIPTED, input=b"hello\n", capture_output=True, timeout=120)
    assert done.returncode == os.EX_PROTOCOL
    assert b"not a message of the engine protocol" in done.stderr and done.stdout == b""


@pytest.mark.parametrize("others", [(), ("hang",)])
async def test_one_that_hangs_in_an_answer_that_nobody_reads_is_ended(hasty: EngineClient, others: list[str]) -> None:
    """Those behind it would wait without end; so would who has one before it that hangs, and goes on waiting."""
    await load(hasty)
    readers = [asyncio.create_task(ask(hasty, text)) for text in others]
    await asyncio.sleep(0)
    given_up = hasty.ask(Request((user("hang"),)))
    waiting = asyncio.create_task(anext(given_up))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    await given_up.aclose()
    readers.append(asyncio.create_task(ask(hasty, "next")))
    for reader in readers:
        with pytest.raises(EngineDied, match="did not stop within"):
            await reader


async def test_an_answer_given_up_behind_another_costs_nothing(hasty: EngineClient) -> None:
    await load(hasty)
    first = hasty.ask(Request((user("forever"),)))
    await anext(first)
    behind = asyncio.create_task(anext(hasty.ask(Request((user("next"),)))))
    await asyncio.sleep(0.05)
    behind.cancel()
    await asyncio.sleep(0.5)  # longer than the patience with it
    assert hasty.alive and isinstance((await anext(first)).event, TextDelta | MessageStart)
    hasty._cancel_grace_s = 60.0
    await first.aclose()
    assert text_of(await ask(hasty, "last")) == "last"


@pytest.mark.parametrize("cancels", [False, True])
async def test_an_answer_that_has_ended_unread_costs_nothing(hasty: EngineClient, cancels: bool) -> None:
    """Nobody has read that far, and nobody will: the engine did all it was asked, and hears nothing for a while."""
    await load(hasty)
    answers = hasty.ask(Request((user("one"),)))
    await anext(answers)
    (inbox,) = hasty._inboxes.values()
    while not any(isinstance(reply, Answer) and isinstance(reply.event, Finished) for reply in inbox._queue):  # type: ignore[attr-defined]
        await asyncio.sleep(0.01)
    if cancels:
        await hasty.cancel()
    else:
        await answers.aclose()
    await asyncio.sleep(0.5)  # longer than the patience with it
    assert hasty.alive
    hasty._cancel_grace_s = 60.0
    assert text_of(await ask(hasty, "next")) == "next"
    await answers.aclose()
