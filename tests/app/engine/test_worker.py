"""The worker between two requests: it settles while nobody waits, and whatever comes is taken at once."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app.engine.backend import ModelBackend
from app.engine.protocol import (
    Answer,
    Ask,
    Cancel,
    Failed,
    FromEngine,
    Load,
    Loading,
    LoadProgress,
    Ready,
    ToEngine,
    decode,
    encode,
)
from app.engine.worker import Outbox, Worker, merge
from mlx_model.cpu.available import why_not
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.events import Event, Finished, MessageEnd, TextDelta
from mlx_model.generation.runner import never
from mlx_model.harmony.message import Message, user
from mlx_model.hub import names
from mlx_model.lora.recipe import Recipe
from mlx_model.memory.device import on_gpu
from mlx_model.model import Model
from mlx_model.options import Options
from mlx_model.request import Request
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.adapter_files import write_adapter
from mlx_model.weights.checkpoint import stored_tensors
from tests.fixtures import FIXTURES
from tests.fixtures.settling_worker import SettlingBackend

GREEDY = Options(temperature=0, max_tokens=60)


class Engine:
    """A worker process, spoken to directly."""

    def __init__(self, script: str) -> None:
        command = (sys.executable, str(FIXTURES / script))
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._inbox, self._outbox, self.errors = self.process.stdin, self.process.stdout, self.process.stderr

    def send(self, message: ToEngine) -> None:
        self._inbox.write(encode(message))
        self._inbox.flush()

    def receive(self) -> Any:
        return decode(self._outbox.readline())

    def answer(self, number: int, text: str) -> str:
        """What it answers: the number of steps it has settled since the last answer."""
        self.send(Ask(number, Request((user(text),))))
        event = self.receive().event
        assert self.receive() == Answer(number, Finished("stop"))
        assert isinstance(event, MessageEnd)
        return event.message.text

    def wait_for(self, line: bytes) -> None:
        """Reads standard error up to a line with this in it."""
        while line not in (found := self.errors.readline()):
            assert found, "the engine has died"

    def close(self) -> None:
        """Ends the process, however it is."""
        self.process.kill()
        self.process.wait()
        for pipe in (self._inbox, self._outbox, self.errors):
            pipe.close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine("settling_worker.py")
    yield engine
    engine.close()


def test_it_settles_after_an_answer_until_a_request_comes(engine: Engine) -> None:
    assert engine.answer(1, "hello") == "0"
    for _ in range(3):
        engine.wait_for(b"step")
    assert int(engine.answer(2, "again")) >= 3
    engine.wait_for(b"step")
    engine.send(Load())
    assert isinstance(engine.receive(), Ready)


def test_a_request_that_waits_already_comes_first() -> None:
    backend = SettlingBackend()
    list(backend.stream(Request((user("hello"),)), never, never))
    worker = Worker(backend, io.BytesIO(), Outbox(io.BytesIO()))
    worker._requests.put(Load())
    worker._settle()
    assert backend.steps == 0


def test_a_cancel_of_an_answer_that_is_over_does_no_harm(engine: Engine) -> None:
    engine.answer(1, "hello")
    engine.wait_for(b"step")
    engine.send(Cancel(1))
    engine.answer(2, "again")


def test_settling_that_fails_is_logged_and_loses_nothing(engine: Engine) -> None:
    engine.answer(1, "fail")
    engine.wait_for(b"RuntimeError: settling failed")
    assert engine.answer(2, "hello") == "0"


def test_what_is_no_request_ends_it(engine: Engine) -> None:
    """As any line that can't be read: a worker that took it would die of it later, without a word."""
    engine.send(Answer(1, Finished("stop")))  # type: ignore[arg-type]
    assert engine.process.wait(120) == os.EX_PROTOCOL
    assert b"Answer is a reply" in engine.errors.read()


def test_ctrl_c_in_the_terminal_is_not_for_the_engine(engine: Engine) -> None:
    engine.answer(1, "hello")
    engine.process.send_signal(signal.SIGINT)
    engine.answer(2, "again")


def test_it_ends_with_its_standard_input_while_it_settles(engine: Engine) -> None:
    engine.answer(1, "hello")
    assert engine.process.stdin is not None
    engine.process.stdin.close()
    while engine.errors.readline():
        pass
    assert engine.process.wait() == 0


class Kept(Outbox):
    """Keeps what is sent; `heard` is told of each."""

    def __init__(self, heard: Callable[[FromEngine], None] = lambda reply: None) -> None:
        self.replies, self._heard = list[FromEngine](), heard

    def put(self, reply: FromEngine) -> None:
        self.replies.append(reply)
        self._heard(reply)


class TurnsBackend(SettlingBackend):
    """Says one word of the prompt, then waits for the others, and so on; the word "fail" fails."""

    def stream(
        self, request: Request, cancelled: Callable[[], bool], answer_now: Callable[[], bool]
    ) -> Iterator[Event | None]:
        for word in request.messages[-1].text.split():
            if cancelled():
                yield Finished("cancelled")
                return
            if word == "fail":
                raise RequestError("no such word")
            yield TextDelta("final", word)
            yield None
        yield Finished("stop")


def said(reply: FromEngine) -> tuple[int | None, str]:
    """Of what request it is, and its text, or how it ended."""
    match reply:
        case Answer(number, TextDelta(text=text)) | Failed(number=number, text=text):
            return number, text
        case Answer(number, Finished(reason)):
            return number, reason
    raise AssertionError(reply)


def test_answers_take_turns_and_a_load_waits_for_them() -> None:
    """Each ends, fails or is cancelled for itself, and what stands behind the load is not begun before it."""
    load, late = Load("other"), Ask(9, Request((user("late"),)))

    def heard(reply: FromEngine) -> None:
        if reply == Answer(1, TextDelta("final", "b")):
            worker._cancelled.add(2)
            for message in (Ask(4, Request((user("x y"),))), load, late):
                worker._requests.put(message)

    outbox = Kept(heard)
    worker = Worker(TurnsBackend(), io.BytesIO(), outbox)
    for number, text in ((2, "m n o p"), (3, "fail")):
        worker._requests.put(Ask(number, Request((user(text),))))
    assert worker._answer(Ask(1, Request((user("a b c"),)))) == load
    assert [said(reply) for reply in outbox.replies] == [
        *((1, "a"), (2, "m"), (3, "no such word"), (1, "b"), (2, "cancelled"), (1, "c"), (4, "x")),
        *((1, "stop"), (4, "y"), (4, "stop")),
    ]
    assert worker._requests.get() == late
    assert worker._cancelled == set()


def test_deltas_that_piled_up_are_joined_whatever_comes_between_them() -> None:
    def delta(number: int, text: str) -> Answer:
        return Answer(number, TextDelta("final", text))

    end = Answer(1, Finished("stop"))
    replies = merge([delta(1, "a"), delta(2, "m"), delta(1, "b"), delta(2, "n"), end, delta(2, "o"), delta(1, "later")])
    assert replies == [
        Answer(1, TextDelta("final", "ab"), 2),
        Answer(2, TextDelta("final", "mno"), 3),
        end,
        delta(1, "later"),
    ]


def test_the_model_answers_several_at_once(backend: ModelBackend) -> None:
    """The engine's chat, its title, the server's clients: each is told what it is told alone, and a cancel is seen
    before the next token."""
    short = replace(GREEDY, max_tokens=14)
    asks = [
        Ask(1, Request((user("How many r's are in strawberry?"),), short)),
        Ask(2, Request((user("Spell the word house."),), Options(max_tokens=14, seed=7))),
        Ask(3, Request((user("hello"),), short)),
    ]
    alone = [asked(backend, [*ask.request.messages], ask.request.options)[0] for ask in asks]
    steps = list[int]()

    def heard(reply: FromEngine) -> None:
        if isinstance(reply, Answer) and reply.number == 3 and isinstance(reply.event, TextDelta):
            steps.append(len(outbox.replies))
            worker._cancelled.add(3)

    outbox = Kept(heard)
    worker = Worker(backend, io.BytesIO(), outbox)
    for ask in asks[1:]:
        worker._requests.put(ask)
    worker._answer(asks[0])
    events = {ask.number: [reply.event for reply in outbox.replies if reply.number == ask.number] for ask in asks}  # type: ignore[union-attr]
    told = [[event.message for event in found if isinstance(event, MessageEnd)] for found in events.values()]
    assert told[:2] == alone[:2]
    assert len(steps) == 1 and isinstance(events[3][-1], Finished) and events[3][-1].reason == "cancelled"
    first = [
        reply.number for reply in outbox.replies if isinstance(reply, Answer) and isinstance(reply.event, TextDelta)
    ]
    assert first.index(2) < len(first) - first[::-1].index(1), "both at once"


@pytest.fixture(scope="module")
def backend() -> ModelBackend:
    backend = ModelBackend()
    backend.load(Load("demo"), lambda loading: None)
    return backend


def asked(backend: ModelBackend, messages: list[Message], options: Options = GREEDY) -> tuple[list[Message], Finished]:
    events = [event for event in backend.stream(Request(messages, options), never, never) if event is not None]
    assert isinstance(events[-1], Finished)
    return [event.message for event in events if isinstance(event, MessageEnd)], events[-1]


def test_the_model_settles_its_last_answer(backend: ModelBackend) -> None:
    """So that the next turn computes the new message alone."""
    messages = [user("How many r's are in strawberry?")]
    answer, finished = asked(backend, messages)
    assert finished.reason == "stop"
    assert list(backend.settle())
    assert list(backend.settle()) == []
    messages += [*answer, user("hello")]
    _, finished = asked(backend, messages)
    assert backend._session is not None
    assert finished.stats.prefill_tokens == len(backend._session._renderer.message(user("hello"))) + 2


@pytest.mark.parametrize("options", [Options(temperature=0, max_tokens=3)], ids=["length"])
def test_an_answer_that_is_not_complete_is_not_settled(backend: ModelBackend, options: Options) -> None:
    _, finished = asked(backend, [user("hello")], options)
    assert finished.reason == "length"
    assert list(backend.settle()) == []


def test_loading_forgets_what_there_was_to_settle(backend: ModelBackend) -> None:
    asked(backend, [user("hello")])
    backend.load(Load("demo"), lambda loading: None)
    assert list(backend.settle()) == []


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """The folder of an adapter with which the demo model says other things."""
    adapters = Recipe(layers=(5,)).adapters(ModelConfig.load(names.resolve("demo")))
    arrays = {name: array + 5.0 if name.endswith(".b") else array for name, array in adapters.arrays.items()}
    write_adapter(tmp_path / "odd", replace(adapters, arrays=arrays), "demo", 6, {})
    return tmp_path / "odd"


@pytest.mark.parametrize("is_compiled", [True, False])
def test_another_adapter_is_put_on(
    odd: Path, is_compiled: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Without loading the model again where its matrices take one; its KV caches, which come of other weights, go."""
    if not is_compiled:
        request.getfixturevalue("by_mlx")
        monkeypatch.setattr(Model, "changes_to", lambda self, adapter: True)
    backend = ModelBackend()
    backend.load(Load("demo"), lambda loading: None)
    before, few = backend._model, Options(temperature=0, max_tokens=6)
    bare, _ = asked(backend, [user("hello")], few)
    with pytest.raises(CheckpointError, match="is missing"):
        backend.load(Load("demo", adapter=str(odd / "none")), lambda loading: None)
    assert asked(backend, [user("hello")], few)[0] == bare, "a mistyped name took the model away"
    ready = backend.load(Load("demo", adapter=str(odd)), lambda loading: None)
    assert (ready.model, ready.adapter) == ("demo", "odd")
    said, finished = asked(backend, [user("hello")], few)
    assert said != bare and finished.stats.reused_tokens == 0
    ready = backend.load(Load("demo"), lambda loading: None)
    assert ready.adapter == "" and (backend._model is before) is not is_compiled
    assert asked(backend, [user("hello")], few)[0] == bare


def test_the_default_model_is_loaded_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, announced = ModelBackend(), list[Loading | LoadProgress]()
    clock = count(0.0, 0.1)
    monkeypatch.setattr("app.engine.backend.monotonic", lambda: next(clock))
    monkeypatch.setattr(names, "default_model", lambda: "demo")
    assert backend.load(Load(None), announced.append).model == "demo"
    monkeypatch.setattr(names, "default_model", lambda: "another")
    assert backend.load(Load("demo"), announced.append).model == "demo"
    assert [each for each in announced if isinstance(each, Loading)] == [Loading("demo", True), Loading("demo", False)]
    first = announced[: announced.index(Loading("demo", False))]
    progress = [each for each in first if isinstance(each, LoadProgress) and not each.kernels]
    if why_not() is None and not on_gpu():
        assert first[-1] == LoadProgress(0, 1, kernels=True)
    assert 3 < len(progress) < 60  # four times a second; there are 117 tensors
    stored = stored_tensors(names.resolve("demo")).values()
    assert {each.total for each in progress} == {sum(tensor.nbytes for tensor in stored)}
    sizes = [each.done for each in progress]
    assert sizes == sorted(sizes) and sizes[0] > 0 and sizes[-1] <= progress[0].total


def test_what_is_prepared_for_the_gpu_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, *, preparing: Callable[[int, int], None], **_: object) -> Model:
        preparing(3, 8)
        raise RequestError("enough")

    announced = list[Loading | LoadProgress]()
    monkeypatch.setattr("mlx_model.model.load", load)
    with pytest.raises(RequestError):
        ModelBackend().load(Load("demo"), announced.append)
    assert announced[1:] == [LoadProgress(3, 8, kernels=True)]


def test_the_loaded_model_counts(backend: ModelBackend) -> None:
    assert backend._model is not None and backend._model.tokenizer is not None
    text = "How many r's are in strawberry? <|end|>"
    assert backend.count([text, ""]) == [len(backend._model.tokenizer.encode(text)), 0]


def test_without_a_model_nothing_is_answered() -> None:
    with pytest.raises(RequestError, match="is loaded yet"):
        ModelBackend().count(["hello"])
    with pytest.raises(RequestError, match="no model is loaded yet"):
        list(ModelBackend().stream(Request((user("hello"),)), never, never))
