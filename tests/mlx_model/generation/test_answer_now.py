"""Ending a thought before its time: the ids, what follows them, and when nothing happens."""

from collections.abc import Iterator, Sequence

import mlx.core as mx
import pytest

from mlx_model import Model, Options, Session, generate, load
from mlx_model.events import Event, Finished, MessageEnd
from mlx_model.generation.runner import Runner
from mlx_model.harmony.message import Effort, Message, assistant, user
from mlx_model.request import Request
from tests.fixtures.gpu_way import step_ahead

QUESTION = user("How many r's are in strawberry?")
GREEDY = Options(effort=Effort.HIGH, temperature=0, max_tokens=24)
SAMPLED = [GREEDY, Options(effort=Effort.HIGH, seed=8, max_tokens=24, top_k=20, repetition_penalty=1.1)]
CLOSING = "<|end|><|start|>assistant<|channel|>final<|message|>"


@pytest.fixture(scope="module")
def demo() -> Model:
    return load("demo")


@pytest.fixture(params=["as on a CPU", "as on a GPU"])
def way(demo: Model, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to decode."""
    if request.param == "as on a GPU":
        step_ahead(monkeypatch, demo)
    yield request.param


def with_thinking(options: Options, most: int | None) -> Options:
    return Options(**options.to_json() | {"max_thinking": most})


def closing(model: Model) -> list[int]:
    """The ids of CLOSING, put together here by hand."""
    assert model.tokenizer is not None
    special, encode = model.tokenizer.special, model.tokenizer.encode
    return [
        *(special["<|end|>"], special["<|start|>"], *encode("assistant")),
        *(special["<|channel|>"], *encode("final"), special["<|message|>"]),
    ]


def answer(session: Session, options: Options = GREEDY, messages: tuple[Message, ...] = (QUESTION,)) -> list[Event]:
    return list(session.stream(Request(messages, options)))


FREE: dict[Options, list[int]] = {}


def free_tokens(model: Model, options: Options) -> list[int]:
    """The answer of a thought that nothing ends, made once."""
    if options not in FREE:
        session = Session(model)
        answer(session, options)
        FREE[options] = session.tokens
    return FREE[options]


def opening(model: Model, options: Options) -> int:
    """How many tokens come before the thought's first: its header."""
    assert model.tokenizer is not None
    return free_tokens(model, options).index(model.tokenizer.special["<|message|>"]) + 1


@pytest.mark.parametrize("options", SAMPLED, ids=["greedy", "penalty"])
@pytest.mark.parametrize("most", [0, 6])
def test_a_budget_ends_the_thought_at_its_token(demo: Model, way: str, options: Options, most: int) -> None:
    free = free_tokens(demo, options)
    header = opening(demo, options)
    session = Session(demo)
    events = answer(session, with_thinking(options, most))
    kept = header + most
    assert session.tokens[:kept] == free[:kept]
    assert session.tokens[kept : kept + 6] == closing(demo)
    thought, final = (event.message for event in events if isinstance(event, MessageEnd))
    assert demo.tokenizer is not None
    assert thought.text == demo.tokenizer.decode(free[header:kept])
    assert (thought.channel, thought.recovered, final.channel) == ("analysis", False, "final")
    assert final.text


def test_both_ways_draw_the_same(demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draw that the GPU's way has made ahead is taken back."""
    one, other = Session(demo), Session(demo)
    answer(one, with_thinking(SAMPLED[1], 5))
    step_ahead(monkeypatch, demo)
    answer(other, with_thinking(SAMPLED[1], 5))
    assert one.tokens == other.tokens


def test_what_follows_is_what_the_model_says_behind_these_ids(demo: Model, way: str) -> None:
    session = Session(demo)
    prompt = session.prompt(Request((QUESTION,), GREEDY))
    answer(session, with_thinking(GREEDY, 4))
    end = session.tokens.index(closing(demo)[0]) + 6
    rest = [item for item in Runner(demo).run([*prompt, *session.tokens[:end]], GREEDY) if isinstance(item, int)]
    assert rest[: len(session.tokens) - end] == session.tokens[end:] != []


def test_the_next_turn_finds_it_all_in_the_cache(demo: Model) -> None:
    session = Session(demo)
    options = with_thinking(GREEDY, 4)
    events = answer(session, options)
    messages = [event.message for event in events if isinstance(event, MessageEnd)]
    prompt = session.prompt(Request((QUESTION, *messages, user("And in cherry?")), options))
    list(session.settle(Request((QUESTION,), options), messages))
    last = answer(session, options, (QUESTION, *messages, user("And in cherry?")))[-1]
    assert isinstance(last, Finished)
    assert last.stats.prefill_tokens + last.stats.reused_tokens == len(prompt)
    assert last.stats.prefill_tokens < 20


@pytest.mark.parametrize("at", [0, 12])
def test_the_caller_ends_it_at_any_moment(demo: Model, way: str, at: int) -> None:
    """Asked for before the thought, or in it, it ends at the next token of it."""
    free = free_tokens(demo, GREEDY)
    session = Session(demo)
    request = Request((QUESTION,), GREEDY)
    list(session.stream(request, answer_now=lambda: len(session.tokens) >= at))
    kept = max(at, opening(demo, GREEDY))
    assert session.tokens[:kept] == free[:kept]
    assert session.tokens[kept : kept + 6] == closing(demo)


def test_outside_of_a_thought_nothing_happens(demo: Model) -> None:
    brief = Options(effort=Effort.LOW, temperature=0, max_tokens=60)
    free, session = free_tokens(demo, brief), Session(demo)
    end = free.index(closing(demo)[0])
    list(session.stream(Request((QUESTION,), brief), answer_now=lambda: len(session.tokens) > end))
    assert session.tokens == free
    assert len(free) > end + 6


def test_a_thought_that_is_continued_counts_from_its_beginning(demo: Model) -> None:
    session = Session(demo)
    cut_off = answer(session, Options(**GREEDY.to_json() | {"max_tokens": 12}))
    (thought,) = (event.message for event in cut_off if isinstance(event, MessageEnd))
    events = answer(session, with_thinking(GREEDY, 2), (QUESTION, thought))
    assert session.tokens[1:7] == closing(demo)  # one token has to be sampled, to see where the thought stands
    first = next(event.message for event in events if isinstance(event, MessageEnd))
    assert first.text.startswith(thought.text)


@pytest.mark.parametrize("room", [1, 6, 7])
def test_an_answer_that_has_no_room_for_it_ends(demo: Model, way: str, room: int) -> None:
    header = opening(demo, GREEDY)
    session = Session(demo)
    last = answer(session, Options(**GREEDY.to_json() | {"max_tokens": header + 3 + room, "max_thinking": 3}))[-1]
    assert isinstance(last, Finished)
    assert last.reason == "length"
    assert len(session.tokens) == header + 3 + max(room, 6)
    assert last.stats.decode_tokens == header + 3 + max(room - 6, 0)


class Script:
    """A constraint that lets only these ids be sampled, one after the other; then anything."""

    def __init__(self, vocab: int, ids: list[int]) -> None:
        self._vocab, self._ids = vocab, ids
        self.accepted: list[int] = []

    def mask(self) -> mx.array | None:
        if len(self.accepted) >= len(self._ids):
            return None
        return mx.arange(self._vocab) == self._ids[len(self.accepted)]

    def accept(self, token: int) -> bool:
        self.accepted.append(token)
        return True

    def forced(self) -> Sequence[int]:
        return ()


def test_a_constraint_hears_of_the_ids(demo: Model, way: str) -> None:
    session, script = Session(demo), Script(demo.config.vocab_size, [])
    list(session.stream(Request((QUESTION,), with_thinking(GREEDY, 3)), constraint=script))
    assert script.accepted[: len(session.tokens)] == session.tokens


def test_a_character_is_not_cut_in_two(demo: Model, way: str) -> None:
    assert demo.tokenizer is not None
    special, encode = demo.tokenizer.special, demo.tokenizer.encode
    halves = [token for token in range(300) if len(demo.tokenizer.token_bytes(token)) == 1]
    first, second = (next(t for t in halves if demo.tokenizer.token_bytes(t)[0] == byte) for byte in "é".encode())
    header = [special["<|channel|>"], *encode("analysis"), special["<|message|>"]]
    session = Session(demo)
    script = Script(demo.config.vocab_size, [*header, first, second])
    events = list(session.stream(Request((QUESTION,), with_thinking(GREEDY, 1)), constraint=script))
    assert next(event.message for event in events if isinstance(event, MessageEnd)) == assistant("é", "analysis")


def test_generate_takes_the_budget(demo: Model) -> None:
    result = generate(demo, QUESTION.text, effort="high", temperature=0, max_thinking=0, max_tokens=24)
    assert result.analysis == ""
    assert result.text
