"""The engine in this very process, with the backend of the worker's tests: the same protocol, without a pipe."""

import asyncio
import os
import signal
import threading

import pytest

from app.engine.backend import ModelBackend
from app.engine.engine import Engine, EngineDied, EngineError
from app.engine.local import LocalEngine, drive
from app.engine.protocol import Answer, Load, Loading, LoadProgress, Ready
from mlx_model.cpu import compiling
from mlx_model.errors import CheckpointError
from mlx_model.events import Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.generation.scheduler import Scheduler
from mlx_model.harmony.message import Effort, user
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.scripted_worker import ScriptedBackend


@pytest.fixture
async def engine() -> LocalEngine:
    """One that has loaded."""
    engine = LocalEngine(ScriptedBackend())
    await load(engine)
    return engine


async def load(engine: Engine, name: str | None = None) -> list[Loading | LoadProgress | Ready]:
    return [reply async for reply in engine.load(Load(name))]


async def ask(engine: Engine, text: str) -> list[Answer]:
    return [answer async for answer in engine.ask(Request((user(text),)))]


def text_of(answers: list[Answer]) -> str:
    return "".join(a.event.text for a in answers if isinstance(a.event, TextDelta))


def reason_of(answers: list[Answer]) -> str:
    last = answers[-1].event
    assert isinstance(last, Finished)
    return last.reason


async def test_it_loads_and_answers_as_the_process_does() -> None:
    engine = LocalEngine(ScriptedBackend())
    assert not engine.alive and engine.context_length == 0
    with pytest.raises(EngineDied, match="isn't running"):
        await ask(engine, "too early")
    assert await load(engine) == [Loading("scripted", True), Ready("scripted", 4096, 1 << 20, 1 << 30, 0.5)]
    assert engine.alive and engine.context_length == 4096
    assert text_of(await ask(engine, "hello")) == "hello"
    assert {answer.number for answer in await ask(engine, "again")} == {2}


async def test_it_counts_with_the_model(engine: LocalEngine) -> None:
    assert await engine.count(["one two", ""]) == [2, 0]
    with pytest.raises(EngineError, match="is loaded yet"):
        await LocalEngine().count(["one"])


def test_it_computes_with_the_model_itself_unless_told_otherwise() -> None:
    assert isinstance(LocalEngine()._backend, ModelBackend)


async def test_what_is_to_be_known_of_a_loaded_model_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_complaints", ["cpu can't be written; kernels are compiled again at each start"])
    *_, ready = await load(LocalEngine(ModelBackend()), "demo")
    assert isinstance(ready, Ready)
    assert ready.note == "cpu can't be written; kernels are compiled again at each start"


async def test_a_failed_load_says_what_it_began_and_why_it_failed() -> None:
    engine, replies = LocalEngine(ScriptedBackend()), []
    with pytest.raises(EngineError, match="no checkpoint called missing") as caught:
        async for reply in engine.load(Load("missing")):
            replies.append(reply)
    assert replies == [Loading("missing", False)] and isinstance(caught.value.__cause__, CheckpointError)
    assert (await load(engine, "fine"))[-1] == Ready("fine", 4096, 1 << 20, 1 << 30, 0.5)


async def test_a_declined_request_is_told_apart_from_a_failure(engine: LocalEngine) -> None:
    with pytest.raises(EngineError, match=r"9,999 tokens") as caught:
        await ask(engine, "too long")
    assert caught.value.unusable and not caught.value.about
    with pytest.raises(EngineError, match="can't be bound") as odd:
        await ask(engine, "odd")
    assert odd.value.unusable and odd.value.about == "form"
    with pytest.raises(EngineError) as failed:
        await load(engine, "missing")
    assert not failed.value.unusable


async def test_a_bug_passes_as_it_is(engine: LocalEngine) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        await load(engine, "bug")


async def test_a_thought_ends_when_the_answer_is_wanted_now(engine: LocalEngine) -> None:
    answers = []
    async for answer in engine.ask(Request((user("think"),))):
        answers.append(answer.event)
        if answer.event == MessageStart("analysis"):
            await engine.answer_now()
    ends = [event.message.channel for event in answers if isinstance(event, MessageEnd)]
    assert ends == ["analysis", "final"]


async def test_it_computes_in_the_thread_that_asks(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    stream = ScriptedBackend.stream

    def noted(*arguments: object) -> object:
        threads.append(threading.current_thread())
        return stream(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ScriptedBackend, "stream", noted)
    await ask(engine, "hello")
    assert threads == [threading.current_thread()]


async def test_another_task_can_cancel_between_two_events(engine: LocalEngine) -> None:
    asked = asyncio.create_task(ask(engine, "forever"))
    await asyncio.sleep(0.01)
    await engine.cancel()
    assert reason_of(await asked) == "cancelled"
    assert reason_of(await ask(engine, "next")) == "stop"


async def test_answers_of_several_tasks_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, steps, step = LocalEngine(), 0, Scheduler.step

    def counted(scheduler: Scheduler) -> None:
        nonlocal steps
        steps += 1
        step(scheduler)

    monkeypatch.setattr(Scheduler, "step", counted)
    async for _ in engine.load(Load("demo")):
        pass
    asked = [Request((user("How many r's are in strawberry?"),), Options(Effort.LOW, seed=seed)) for seed in (1, 2, 3)]

    async def answered(request: Request) -> int:
        (end,) = [answer.event async for answer in engine.ask(request) if isinstance(answer.event, Finished)]
        return end.stats.decode_tokens

    counts = await asyncio.gather(*map(answered, asked))
    # The prompt once, its last token for the two that have waited for it, and the tokens of all in the same steps.
    assert max(counts) <= steps <= max(counts) + 3
    await engine.close()


def test_a_signal_handler_can_stop_it() -> None:
    engine = LocalEngine(ScriptedBackend())

    async def stopped() -> list[Answer]:
        await load(engine)
        answers = []
        async for answer in engine.ask(Request((user("forever"),))):
            answers.append(answer)
            if isinstance(answer.event, TextDelta):
                os.kill(os.getpid(), signal.SIGUSR1)
        return answers

    before = signal.signal(signal.SIGUSR1, lambda *_: engine.stop())
    try:
        assert reason_of(drive(stopped())) == "cancelled"
    finally:
        signal.signal(signal.SIGUSR1, before)


async def test_it_ends_when_it_is_closed(engine: LocalEngine) -> None:
    waiting = asyncio.create_task(engine.died())
    await asyncio.sleep(0)
    assert not waiting.done()
    await engine.close()
    assert str(await waiting) == "the engine was closed" and not engine.alive
    with pytest.raises(EngineDied, match="isn't running"):
        await ask(engine, "anyone?")


def test_driving_needs_no_event_loop_and_passes_interrupts_on() -> None:
    async def asking(text: str) -> str:
        engine = LocalEngine(ScriptedBackend())
        await load(engine)
        return text_of(await ask(engine, text))

    async def interrupted() -> None:
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    assert drive(asking("hello")) == "hello"
    with pytest.raises(KeyboardInterrupt):
        drive(interrupted())


def test_what_waits_for_more_than_the_engine_cannot_be_driven() -> None:
    async def waiting() -> None:
        await _Never()

    with pytest.raises(RuntimeError, match="can't wait for anything else"):
        drive(waiting())


class _Never:
    """Waits for something that an event loop would have to bring."""

    def __await__(self):  # type: ignore[no-untyped-def]
        yield "a future"
