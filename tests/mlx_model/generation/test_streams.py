"""One stream at a time on a Session: interleaved streams, threads and forks end in an answer or in an error, never in
a short answer that is called complete."""

import concurrent.futures
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest

from mlx_model import Model, Options, Session, generate
from mlx_model.errors import RequestError
from mlx_model.events import Event, Finished, MessageEnd, TextDelta
from mlx_model.generation.exclusive import Stream
from mlx_model.generation.runner import Runner
from mlx_model.harmony.message import assistant, user
from mlx_model.request import Form, Request
from tests.fixtures import ROOT
from tests.fixtures.gpu_way import step_ahead

OPTIONS = Options(seed=8, max_tokens=20, repetition_penalty=1.05)
# Each goes on inside an answer, so that every token is text, whatever the model says.
FIRST = Request([user("How many r's are in strawberry?"), assistant("There", "final")], OPTIONS)
SECOND = Request([user("Spell the word house."), assistant("h-o-u", "final")], OPTIONS)
SCHEMA = {"type": "object", "properties": {"word": {"enum": ["straw", "berry"]}}, "required": ["word"]}
BOUND = Request([user("?")], Options(seed=8, max_tokens=40, max_thinking=2), form=Form({**SCHEMA, "maxProperties": 1}))
T = TypeVar("T")


@pytest.fixture(scope="module")
def alone(quick: Model) -> dict[int, list[tuple[str, str]]]:
    """What each request is answered where nothing disturbs it."""
    return {id(request): outcome(Session(quick).stream(request)) for request in (FIRST, SECOND)}


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def way(quick: Model, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both ways to decode."""
    if request.param == "as on a GPU":
        step_ahead(monkeypatch, quick)
    yield


def outcome(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Messages, and how it ended."""
    pairs = []
    for event in events:
        if isinstance(event, MessageEnd):
            pairs.append((event.message.channel or "", event.message.text))
        if isinstance(event, Finished):
            pairs.append(("finished", event.reason))
    return pairs


THREADS = itertools.cycle([concurrent.futures.ThreadPoolExecutor(1) for _ in range(3)])
"""Few, since MLX keeps what it made for a thread (on a CPU some threads of its own) after that has ended."""


def in_thread(work: Callable[[], T]) -> T:
    """The work's result or error, from another thread than the last."""
    return next(THREADS).submit(work).result()


@pytest.mark.parametrize("steps", [1, 3, 12])
def test_a_second_stream_ends_the_first_with_an_error(
    quick: Model, alone: dict[int, list[tuple[str, str]]], steps: int
) -> None:
    session = Session(quick)
    first = session.stream(FIRST)
    for _ in range(steps):
        next(first)
    assert outcome(session.stream(SECOND)) == alone[id(SECOND)]
    for _ in range(2):
        with pytest.raises(RequestError, match=r"another request has begun on this Session.*use a second Session"):
            next(first)
    assert outcome(session.stream(FIRST)) == alone[id(FIRST)]


def test_it_does_so_while_both_are_open(quick: Model, alone: dict[int, list[tuple[str, str]]]) -> None:
    session = Session(quick)
    first, second = session.stream(FIRST), session.stream(SECOND)
    next(first)
    head = [next(second)]
    with pytest.raises(RequestError):
        next(first)
    assert outcome([*head, *second]) == alone[id(SECOND)]


def test_a_stream_that_has_ended_or_was_closed_stays_ended(quick: Model) -> None:
    session = Session(quick)
    ended, closed = session.stream(FIRST), session.stream(SECOND)
    list(ended)
    next(closed)
    closed.close()
    list(session.stream(SECOND))
    assert list(ended) == list(closed) == []


def test_settling_is_superseded_like_any_stream(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "prefill_chunk", lambda model, position: 4)
    session = Session(quick)
    list(session.stream(FIRST))
    steps = session.settle(FIRST, [assistant("There are 3 r's in strawberry.")])
    next(steps)
    list(session.stream(SECOND))
    with pytest.raises(RequestError, match=r"another request has begun"):
        next(steps)


def test_generate_meanwhile_disturbs_nothing(quick: Model, alone: dict[int, list[tuple[str, str]]]) -> None:
    stream = Session(quick).stream(FIRST)
    head = [next(stream) for _ in range(8)]
    generate(quick, "Spell house", max_tokens=10)
    assert outcome([*head, *stream]) == alone[id(FIRST)]


@pytest.mark.parametrize("request_", [FIRST, BOUND], ids=["free", "bound"])
def test_each_step_may_be_taken_in_another_thread(quick: Model, way: None, request_: Request) -> None:
    """As web servers do: what crosses between two steps has been computed, or handed to the device."""
    stream = Session(quick).stream(request_)
    events: list[Event] = []
    while (event := in_thread(lambda: next(stream, None))) is not None:
        events.append(event)
    expected = outcome(Session(quick).stream(request_))
    assert outcome(events) == expected
    assert outcome(in_thread(lambda: list(Session(quick).stream(request_)))) == expected


def test_each_step_of_the_prefill_may_be_taken_in_another_thread(
    quick: Model, way: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of a prompt that goes back in the cache, and into an unfilled window."""
    monkeypatch.setattr(Model, "prefill_chunk", lambda model, position: 4)
    runner, greedy = Runner(quick), Options(temperature=0, max_tokens=4)
    for prompt, boundaries in ((list(range(12)), ()), ([*range(7), 1, 2], ()), (list(range(60)), (30,))):
        for ids in (prompt, [*prompt[:-6], 3, 4, 5]):
            items = runner.run(ids, greedy, boundaries=boundaries)
            found = []
            while (item := in_thread(lambda items=items: next(items, None))) is not None:  # type: ignore[misc]
                found.append(item)
            assert found[-4:] == list(Runner(quick).run(ids, greedy))[-4:]


def test_settling_may_change_threads(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "prefill_chunk", lambda model, position: 4)
    session = Session(quick)
    list(session.stream(FIRST))
    answer = [assistant("There are 3 r's in strawberry.")]
    steps = session.settle(FIRST, answer)
    while in_thread(lambda: next(steps, None)) is not None:
        pass
    later = Request([*FIRST.messages[:-1], *answer, user("hello")], Options(temperature=0, max_tokens=20))
    assert outcome(session.stream(later)) == outcome(Session(quick).stream(later))


def test_turns_may_come_in_any_thread(quick: Model) -> None:
    session = Session(quick)
    answers = [in_thread(lambda: outcome(session.stream(FIRST))) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2] == outcome(Session(quick).stream(FIRST))


class Gate:
    """Stops a stream inside a step, until it is let go."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self) -> bool:
        self.reached.set()
        self.open.wait()
        return False


def test_a_step_while_another_thread_takes_one_is_refused(
    quick: Model, alone: dict[int, list[tuple[str, str]]]
) -> None:
    """Of a second stream as of the same; the one under way is not disturbed."""
    session, gate = Session(quick), Gate()
    first = session.stream(FIRST, cancelled=gate)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: outcome(first))
        gate.reached.wait()
        for stream in (session.stream(SECOND), first, session.settle(SECOND, [])):
            with pytest.raises(RequestError, match=r"another thread is computing.*use one Session for each thread"):
                next(stream)
        gate.open.set()
        assert answer.result() == alone[id(FIRST)]


def test_closing_during_a_step_ends_the_stream_after_it(quick: Model) -> None:
    session, gate = Session(quick), Gate()
    stream = session.stream(FIRST, cancelled=gate)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: list(stream))
        gate.reached.wait()
        stream.close()
        gate.open.set()
        assert not any(isinstance(event, Finished) for event in answer.result())
    assert outcome(session.stream(SECOND))[-1] == ("finished", "length")


def test_two_threads_that_race_get_an_answer_or_an_error(quick: Model, alone: dict[int, list[tuple[str, str]]]) -> None:
    session = Session(quick)

    def ask(request: Request) -> list[tuple[str, str]] | RequestError:
        try:
            return outcome(session.stream(request))
        except RequestError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            for request, result in zip((FIRST, SECOND), pool.map(ask, (FIRST, SECOND)), strict=True):
                assert isinstance(result, RequestError) or result == alone[id(request)]
    assert outcome(session.stream(FIRST)) == alone[id(FIRST)]


def test_two_sessions_in_two_threads(quick: Model, alone: dict[int, list[tuple[str, str]]]) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda request: outcome(Session(quick).stream(request)), (FIRST, SECOND)))
    assert answers == [alone[id(FIRST)], alone[id(SECOND)]]


def test_sessions_that_drop_each_others_caches(quick: Model, alone: dict[int, list[tuple[str, str]]]) -> None:
    """There is room for one cache: what one Session keeps is dropped by the other, in another thread."""
    sessions = [Session(quick) for _ in range(2)]
    pools = [session._scheduler.prefixes for session in sessions]
    for pool in pools:
        pool._room = 1

    def ask(session: Session) -> list[list[tuple[str, str]]]:
        return [outcome(session.stream(request)) for _ in range(4) for request in (FIRST, SECOND)]

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for answers in threads.map(ask, sessions):
            assert answers == [alone[id(FIRST)], alone[id(SECOND)]] * 4
    outcome(sessions[0].stream(FIRST))
    assert [len(pool._prefixes) for pool in pools] == [1, 0]


def test_a_stream_is_an_iterator(quick: Model) -> None:
    stream = Session(quick).stream(FIRST)
    assert isinstance(stream, Stream)
    assert iter(stream) is stream
    assert any(isinstance(event, TextDelta) for event in stream)


FORKED = """
import os, sys
from mlx_model import Session, generate, load
from mlx_model.errors import RequestError
from mlx_model.harmony.message import user
from mlx_model.request import Form, Request

model = load("demo")
generate(model, "hello", max_tokens=3)
stream = Session(model).stream(Request([user("hello")]))
next(stream)
child = os.fork()
if child == 0:
    for action in (
        lambda: generate(model, "hello", max_tokens=3),
        lambda: next(stream),
        lambda: next(Session(model).settle(Request([user("hello")]), [])),
        lambda: model.forward([1, 2]),
    ):
        try:
            action()
            os._exit(1)
        except RequestError as error:
            print(error, flush=True)
    stream.close()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_is_told_so() -> None:
    """MLX would wait there for ever for threads that a fork does not copy."""
    result = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert all("forked after the model was loaded" in line and "spawn" in line for line in lines)
