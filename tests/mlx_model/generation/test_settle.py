"""While the person reads: the kept form of an answer is brought into the cache, so that the next turn is cheap."""

import datetime
import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mlx_model import Message, Model, Options, Session
from mlx_model.events import Finished, MessageEnd, Stats
from mlx_model.harmony.message import Role, assistant, user
from mlx_model.request import Request
from mlx_model.transformer.compute import CpuCompute
from tests.fixtures.gpu_way import step_ahead
from tests.fixtures.quick_model import Shaped

GREEDY = Options(temperature=0, max_tokens=200)
TODAY = datetime.date(2026, 11, 21)
OPENING = 2  # <|start|>assistant


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def way(quick: Model, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Both ways to decode; with the step ahead the cache holds the answer's last token too."""
    if request.param == "as on a GPU":
        step_ahead(monkeypatch, quick)
    yield


def answered(session: Session, request: Request) -> tuple[list[Message], Stats]:
    """An analysis and an answer, and what they cost."""
    *events, last = session.stream(request, constraint=Shaped(session.model))
    assert isinstance(last, Finished)
    return [event.message for event in events if isinstance(event, MessageEnd)], last.stats


def length_of(session: Session, message: Message) -> int:
    return len(session._renderer.message(message))


def test_a_turn_computes_its_new_message_alone(quick: Model, way: None) -> None:
    """For several turns, long past the window of 16; and answers as a session of its own would."""
    session = Session(quick, today=TODAY)
    messages: list[Message] = []
    for turn in range(4):
        messages.append(user(f"How many {'abcdef'[turn]}'s are in banana?"))
        request = Request(messages, GREEDY, "Be brief.")
        answer, stats = answered(session, request)
        assert answer == answered(Session(quick, today=TODAY), request)[0]
        assert len(answer) == 2
        if turn:
            assert stats.prefill_tokens == length_of(session, messages[-1]) + OPENING
        list(session.settle(request, answer))
        messages += answer
    assert stats.reused_tokens > 150


def test_regenerating_after_it_reuses_the_prompt(quick: Model, way: None) -> None:
    session = Session(quick, today=TODAY)
    messages = [user("How many r's are in strawberry?")]
    for turn in range(2):
        request = Request(messages, GREEDY)
        answer, _ = answered(session, request)
        list(session.settle(request, answer))
        again, stats = answered(session, request)
        assert again == answer
        assert stats.prefill_tokens <= OPENING
        list(session.settle(request, again))
        messages = [*messages, *again, user(f"And in banana {turn}?")]
    assert answered(session, Request(messages, GREEDY))[1].prefill_tokens == length_of(session, messages[-1]) + OPENING
    assert len(session._scheduler.prefixes._prefixes) == 1


def test_an_edited_question_after_it_keeps_what_came_before(quick: Model) -> None:
    session = Session(quick, today=TODAY)
    first = Request([user("How many r's are in strawberry?")], GREEDY)
    answer, _ = answered(session, first)
    list(session.settle(first, answer))
    for text in ("hello", "thanks"):
        edited = user(text)
        _, stats = answered(session, Request([*first.messages, *answer, edited], GREEDY))
        assert stats.prefill_tokens == length_of(session, edited) + OPENING


def test_it_goes_chunk_by_chunk_and_may_be_left_at_any(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "prefill_chunk", lambda model, position: 4)
    session = Session(quick, today=TODAY)
    request = Request([user("How many r's are in strawberry?")], GREEDY)
    answer, _ = answered(session, request)
    steps = session.settle(request, answer)
    cached = [next(steps), next(steps)]
    assert cached[1] - cached[0] == 4
    # A request that comes now uses what there is.
    messages = [*request.messages, *answer, user("hello")]
    later, stats = answered(session, Request(messages, GREEDY))
    assert stats.reused_tokens == cached[1]
    assert later == answered(Session(quick, today=TODAY), Request(messages, GREEDY))[0]


def test_a_step_computes_no_more_than_a_request_may_wait_for(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = quick.transformer.compute
    assert isinstance(compute, CpuCompute)
    monkeypatch.setattr(quick.transformer, "compute", replace(compute, settle_chunk=3))
    session = Session(quick, today=TODAY)
    request = Request([user("hello")], GREEDY)
    answered(session, request)
    cached = list(session.settle(request, [assistant("one two three four five six seven eight nine ten")]))
    steps = [later - earlier for earlier, later in itertools.pairwise(cached)]
    assert len(steps) > 3
    assert set(steps[:-1]) == {3}
    assert 0 < steps[-1] <= 3


def test_another_conversation_in_between_is_not_touched(quick: Model) -> None:
    session = Session(quick, today=TODAY)
    request = Request([user("How many r's are in strawberry?")], GREEDY)
    answer, _ = answered(session, request)
    other = Request([user("hello")], GREEDY, "Write a title.")
    answered(session, other)
    list(session.settle(request, answer))
    assert answered(session, other)[1].prefill_tokens <= OPENING
    messages = [*request.messages, *answer, user("bye")]
    assert answered(session, Request(messages, GREEDY))[1].prefill_tokens == length_of(session, user("bye")) + OPENING


def test_an_answer_that_had_been_cut_off_is_there_once(quick: Model) -> None:
    session = Session(quick, today=TODAY)
    question = user("How many r's are in strawberry?")
    cut, _ = answered(session, Request([question], Options(temperature=0, max_tokens=30)))
    resumed = Request([question, *cut], GREEDY)
    answer, _ = answered(session, resumed)
    list(session.settle(resumed, answer))
    messages = [question, *cut[:-1], *answer, user("bye")]
    assert answered(session, Request(messages, GREEDY))[1].prefill_tokens == length_of(session, user("bye")) + OPENING


def test_a_conversation_that_fills_the_context_is_left_alone(quick: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(quick, today=TODAY)
    request = Request([user("hello")], GREEDY)
    answered(session, request)
    assert list(session.settle(request, [assistant("word " * 200)]))
    monkeypatch.setattr(Model, "context_length", 100)
    assert list(session.settle(request, [assistant("text " * 200)])) == []


def test_the_last_turn_of_a_tool_call_keeps_its_thoughts_only_while_it_lasts(quick: Model) -> None:
    session = Session(quick, today=TODAY)
    call = Message(Role.ASSISTANT, "print(6 * 7)", channel="commentary", recipient="python")
    result = Message(Role.TOOL, "42\n", "python", "commentary", "assistant")
    messages = [user("What is 6 * 7?"), assistant("I must multiply.", "analysis"), call, result]
    request = Request(messages, GREEDY, tools=["python"])
    answer, _ = answered(session, request)
    list(session.settle(request, answer))
    messages = [*messages, *answer, user("bye")]
    _, stats = answered(session, Request(messages, GREEDY, tools=["python"]))
    assert stats.prefill_tokens == length_of(session, user("bye")) + OPENING
