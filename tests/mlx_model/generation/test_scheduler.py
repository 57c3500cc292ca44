"""Rows that are computed together: each gets the tokens it gets alone, whoever joins, leaves or fails beside it."""

import itertools
import random
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_model.events import Queued
from mlx_model.generation import prefixes
from mlx_model.generation.runner import Progress, Runner
from mlx_model.generation.sampling import Sampler
from mlx_model.generation.scheduler import Scheduler
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.transformer import cache
from tests.fixtures.gpu_way import step_ahead
from tests.fixtures.small_model import VOCAB, Small, Transformer, answer
from tests.mlx_model.generation.test_runner_forced import Forcing

STEP = 8
"""Tokens by which a cache grows here, so that what fits changes with every few tokens."""

PROMPT = [(7 * i * i + 3 * i) % VOCAB for i in range(30)]


@pytest.fixture(autouse=True, scope="module")
def small_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(prefixes, "CACHE_STEP", STEP)
        patched.setattr(cache, "CACHE_STEP", STEP)
        yield


@dataclass
class Reader:
    """Somebody who reads the answer to a prompt, from the turn on in which he comes."""

    prompt: list[int]
    options: Options = field(default_factory=lambda: Options(temperature=0, max_tokens=6))
    comes: int = 0
    goes: int | None = None  # after so many tokens
    boundaries: tuple[int, ...] = ()
    constraint: Any = None
    tokens: list[int] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)  # in which they came
    queued: list[int] = field(default_factory=list)  # how many came before him
    runner: Any = None
    failed: Exception | None = None

    def begin(self, model: Model, scheduler: Scheduler) -> Generator[Progress | int | None, None, None]:
        self.runner = Runner(model, scheduler)
        return self.runner.steps(  # type: ignore[no-any-return]
            self.prompt, self.options, boundaries=self.boundaries, constraint=self.constraint
        )


def read_in_turns(model: Any, readers: Sequence[Reader], scheduler: Scheduler, each_turn: Callable[[], None]) -> None:
    """All of them, as the engine does: in each turn everybody up to where he waits."""
    waiting = sorted(readers, key=lambda reader: reader.comes)
    reading: list[tuple[Reader, Generator[Progress | int | None, None, None]]] = []
    turn = 0
    try:
        while waiting or reading:
            while waiting and waiting[0].comes <= turn:
                reading.append((waiting[0], waiting.pop(0).begin(cast(Model, model), scheduler)))
            reading = [(reader, steps) for reader, steps in reading if read(reader, steps, turn)]
            each_turn()
            turn += 1
            assert turn < 2000, "nobody gets any further"
    finally:
        for _, steps in reading:
            steps.close()


def read(reader: Reader, steps: Generator[Progress | int | None, None, None], turn: int) -> bool:
    """Up to where the steps wait; whether they do."""
    try:
        for item in steps:
            if item is None:
                return True
            if isinstance(item, Queued):
                reader.queued.append(item.before)
            if isinstance(item, int):
                reader.tokens.append(item)
                reader.turns.append(turn)
                if len(reader.tokens) == reader.goes:
                    steps.close()
                    return False
    except RuntimeError as error:
        reader.failed = error
    return False


def small(*, steps_ahead: bool = False, **changes: Any) -> tuple[Small, Scheduler]:
    model = Small(Transformer(steps_ahead=steps_ahead), **changes)
    return model, Scheduler(cast(Model, model))


def consistent(scheduler: Scheduler) -> bool:
    """Whether ids and keys of every cache are equal, one for one, and none is in use."""
    for prefix in scheduler.prefixes._prefixes:
        full = prefix.cache.layers[1].present()
        keys = full[0].flatten()[: prefix.cache.offset].tolist() if full else []
        if keys != prefix.ids or prefix.in_use:
            return False
    return True


def some_readers(dice: random.Random) -> list[Reader]:
    """Some whose prompts begin alike, who come and go at any time, bound or not."""
    found: list[Reader] = []
    for _ in range(dice.randint(2, 7)):
        prompt = [*PROMPT[: dice.choice([0, 10, 20, 30])], *dice.choices(range(VOCAB), k=dice.choice([1, 3, 20, 60]))]
        found.append(
            Reader(
                prompt,
                Options(temperature=0, max_tokens=dice.choice([1, 8, 30, 60])),
                dice.choice([0, 0, 1, 5, 9]),
                dice.choice([None, None, 1, 3, 9]),
                tuple(sorted(dice.sample(range(len(prompt)), min(len(prompt), dice.choice([0, 1, 3]))))),
                dice.choice([None, None, "bound"]),
            )
        )
    return found


def expected(reader: Reader) -> list[int]:
    """What he is told where nobody else is."""
    if reader.constraint is None:
        return answer(reader.prompt, min(reader.options.max_tokens or 0, reader.goes or 99))
    alone = replace(reader, tokens=[], turns=[], comes=0, constraint=Forcing([3]))
    model, scheduler = small()
    read_in_turns(model, [alone], scheduler, lambda: None)
    return alone.tokens


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_any_neighbours_leave_an_answer_as_it_is(seed: int) -> None:
    """And all caches together keep to their room, however small."""
    dice = random.Random(seed)
    readers = some_readers(dice)
    model, scheduler = small(steps_ahead=dice.choice([False, True]), chunk=dice.choice([3, 7, 64]))
    pool = scheduler.prefixes
    pool._room = dice.choice([pool._room, 80, 120, 160, 240])
    for reader in readers:
        reader.constraint = reader.constraint and Forcing([3])

    def keeps_to_room() -> None:
        used = [prefix for prefix in pool._prefixes if prefix.in_use]
        assert len(used) < 2 or sum(map(pool._size, used)) <= pool._room

    read_in_turns(model, readers, scheduler, keeps_to_room)
    for reader in readers:
        assert reader.tokens == expected(reader)
    assert consistent(scheduler)
    assert not scheduler._rows


# Who waits for whom


@pytest.mark.parametrize("steps_ahead", [False, True])
def test_a_long_prompt_holds_up_nobody_for_longer_than_a_chunk(steps_ahead: bool) -> None:
    """Neither who is answered, nor who comes with a short one."""
    model, scheduler = small(steps_ahead=steps_ahead)
    first, long, short = Reader(PROMPT[:5], comes=0), Reader([*PROMPT] * 3, comes=2), Reader([1, 2, 3], comes=4)
    first.options = Options(temperature=0, max_tokens=20)
    read_in_turns(model, [first, long, short], scheduler, lambda: None)
    assert first.turns == list(range(first.turns[0], first.turns[0] + 20)), "a token in each turn"
    assert short.turns[0] <= short.comes + 2 + steps_ahead, "his only chunk comes after one of the long prompt"
    assert long.turns[0] - long.comes == -(-90 // 7) + 1 + steps_ahead
    chunks = [tokens for tokens, asked in model.transformer.calls if asked != "all"]
    assert sum(chunks) == 5 + 90 + 3


def test_each_step_reads_the_weights_once_for_all_who_are_answered() -> None:
    model, scheduler = small()
    read_in_turns(model, [Reader([*PROMPT[:4], number]) for number in range(5)], scheduler, lambda: None)
    decoded = [tokens for tokens, asked in model.transformer.calls if asked == "all"]
    assert sum(decoded) == 5 * 5
    assert max(decoded) == 5
    assert len(decoded) <= 10


def test_a_step_draws_the_tokens_of_all_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together: an evaluation for each would be a way to another thread and back for each."""
    model, scheduler = small()
    drawn: list[int] = []
    step, ahead = Scheduler.step, Sampler.ahead

    def counting_step(self: Scheduler) -> None:
        drawn.append(0)
        step(self)

    def counting_ahead(self: Sampler, logits: mx.array) -> object:
        drawn[-1] += 1
        return ahead(self, logits)

    monkeypatch.setattr(Scheduler, "step", counting_step)
    monkeypatch.setattr(Sampler, "ahead", counting_ahead)
    read_in_turns(model, [Reader([*PROMPT[:4], number]) for number in range(5)], scheduler, lambda: None)
    decoded = [tokens for tokens, asked in model.transformer.calls if asked == "all"]
    assert [number for number in drawn if number] == decoded


@pytest.mark.parametrize("steps_ahead", [False, True])
def test_answers_to_one_prompt_come_from_one_prefill(steps_ahead: bool) -> None:
    """All but what stands behind its last boundary is computed once; the caches of the others are forks."""
    model, scheduler = small(steps_ahead=steps_ahead)
    readers = [Reader(PROMPT, Options(seed=seed, max_tokens=8), boundaries=(10, 28)) for seed in range(4)]
    read_in_turns(model, readers, scheduler, lambda: None)
    assert [reader.runner.stats.reused_tokens for reader in readers] == [0, 28, 28, 28]
    assert sum(tokens for tokens, asked in model.transformer.calls if asked != "all") == 30 + 3 * 2
    assert [reader.tokens for reader in readers] == [
        [item for item in Runner(cast(Model, model)).run(PROMPT, reader.options) if isinstance(item, int)]
        for reader in readers
    ]


def test_what_does_not_fit_waits_in_order_and_who_came_last_makes_room() -> None:
    """Two prompts fit, a third does not; as they grow, not even two do. All are answered in the end, the first as if he
    were alone."""
    model, scheduler = small(chunk=64)
    pool, options = scheduler.prefixes, Options(temperature=0, max_tokens=30)
    readers = [Reader([*dice, number], options) for number, dice in enumerate([PROMPT, PROMPT[::-1], PROMPT[3:]])]
    pool._room = 2 * (5 * STEP + pool._windows(5 * STEP, 1))
    read_in_turns(model, readers, scheduler, lambda: None)
    assert [reader.tokens for reader in readers] == [answer(reader.prompt, 30) for reader in readers]
    first, second, third = (reader.turns for reader in readers)
    assert first == list(range(first[0], first[0] + 30))
    assert first[0] < second[0] < first[-1], "both at once"
    gaps = [after - before for before, after in itertools.pairwise(second)]
    assert max(gaps) > 10, "it was put back until the first had his answer"
    assert third[0] > first[-1], "nobody overtakes"
    assert [reader.queued for reader in readers] == [[], [], [2, 1]]


@pytest.mark.parametrize("steps_ahead", [False, True])
def test_who_is_put_back_can_be_cancelled(steps_ahead: bool) -> None:
    model, scheduler = small(steps_ahead=steps_ahead, chunk=64)
    scheduler.prefixes._room = 2 * (5 * STEP + scheduler.prefixes._windows(5 * STEP, 1))
    runners = [Runner(cast(Model, model), scheduler) for _ in range(2)]
    options, waited = Options(temperature=0, max_tokens=40), list[int]()
    first, second = (
        runner.steps([*PROMPT, number], options, cancelled=lambda n=number: n == 1 and len(waited) > 40)  # type: ignore[misc]
        for number, runner in enumerate(runners)
    )
    for _ in range(60):
        for steps in (first, second):
            while next(steps, None) is not None:
                pass
        waited.append(0)
    assert [runner.finish_reason for runner in runners] == ["length", "cancelled"]
    assert 0 < runners[1].stats.decode_tokens < 30
    assert consistent(scheduler)


@pytest.mark.parametrize("steps_ahead", [False, True])
@pytest.mark.parametrize("failure", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_step_that_fails_ends_those_who_took_part_and_nobody_else(
    steps_ahead: bool, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was half computed answers no later prompt."""
    model, scheduler = small(steps_ahead=steps_ahead)
    decoding = [Reader(PROMPT[:4], comes=0), Reader(PROMPT[:3], comes=0)]
    filling = Reader([9, *PROMPT], comes=4)
    compute = Transformer.__call__

    def broken(self: Transformer, tokens: mx.array, caches: Sequence[cache.Cache], logits: str) -> mx.array:
        computed = compute(self, tokens, caches, logits)
        if len(caches) == 2 and len(decoding[0].tokens) == 4:
            raise failure
        return computed

    monkeypatch.setattr(Transformer, "__call__", broken)
    if isinstance(failure, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            read_in_turns(model, [*decoding, filling], scheduler, lambda: None)
    else:
        read_in_turns(model, [*decoding, filling], scheduler, lambda: None)
        assert [reader.failed for reader in decoding] == [failure] * 2
        assert filling.tokens == answer(filling.prompt, 6)
    assert consistent(scheduler)
    assert [prefix.ids[:1] for prefix in scheduler.prefixes._prefixes] in ([[9]], [[]]), (
        "those of who took part are gone"
    )


def test_an_answer_that_nobody_reads_on_holds_up_nobody() -> None:
    """It keeps its memory until it is closed, and costs no step."""
    model, scheduler = small()
    left = Runner(cast(Model, model), scheduler).steps(PROMPT, Options(temperature=0, max_tokens=9))
    while not isinstance(next(left), int):
        pass
    runner = Runner(cast(Model, model), scheduler)
    calls = len(model.transformer.calls)
    assert [item for item in runner.run([5, 6], Options(temperature=0, max_tokens=4)) if isinstance(item, int)]
    assert model.transformer.calls[calls:] == [(2, "last"), (1, "all"), (1, "all"), (1, "all")]
    left.close()
    assert consistent(scheduler)


# Rows of real models, in float32


@pytest.fixture(scope="module")
def demo() -> Model:
    return load("demo")


@pytest.mark.parametrize("way", ["as on a CPU", "as on a GPU"])
@settings(max_examples=3, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_models_give_a_row_the_tokens_it_has_alone(
    quick: Model, demo: Model, monkeypatch: pytest.MonkeyPatch, way: str, seed: int
) -> None:
    """Greedy ones and those of a seed. Compiled layers give a row the bits it has alone; MLX rounds sums in another
    order, and no draw here is so near a tie."""
    dice = random.Random(seed)
    model = dice.choice([quick, demo])
    with monkeypatch.context() as patched:
        if way == "as on a GPU":
            step_ahead(patched, model)
        readers = some_readers(dice)[:4]
        for number, reader in enumerate(readers):
            count = dice.choice([4, 12])
            options = [Options(temperature=0), Options(seed=number), Options(seed=1, repetition_penalty=1.2)]
            reader.options = replace(dice.choice(options), max_tokens=count)
            reader.constraint = None
        read_in_turns(model, readers, Scheduler(model), lambda: None)
        for reader in readers:
            alone = [item for item in Runner(model).run(reader.prompt, reader.options) if isinstance(item, int)]
            assert reader.tokens == alone[: reader.goes]


@pytest.mark.parametrize("rows", [1, 2, 5, 8])
def test_logits_of_rows_differ_from_those_of_each_alone_by_rounding(quick: Model, rows: int) -> None:
    """Prompts of other lengths, some longer than the window. A single row differs by no bit, nor compiled layers'."""
    prompts = [list(range(3, 5 + 7 * number)) for number in range(1, rows + 1)]

    def filled() -> list[cache.Cache]:
        caches = [quick.make_cache() for _ in prompts]
        for held, prompt in zip(caches, prompts, strict=True):
            mx.eval(quick.forward(prompt, held))
        return caches

    tokens = [[(11 * number + step) % 500 for number in range(rows)] for step in range(2)]
    caches = filled()
    together = [np.array(quick.transformer(mx.array([ids]), caches, "all")[0]) for ids in tokens]
    alone = [
        np.array([quick.forward([token], held)[0, 0] for token, held in zip(ids, others, strict=True)])
        for others in [filled()]
        for ids in tokens
    ]
    assert [held.offset for held in caches] == [len(prompt) + 2 for prompt in prompts]
    largest = max(float(np.abs(a - b).max()) for a, b in zip(together, alone, strict=True))
    exact = rows == 1 or quick.plan.is_compiled
    assert largest <= (0 if exact else 2e-5) * np.abs(alone).max()
