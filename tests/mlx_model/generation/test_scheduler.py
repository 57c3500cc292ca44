"""Rows that are computed together: each gets the tokens it gets alone, whoever joins, leaves or fails beside it."""

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_model.events import PrefillProgress
from mlx_model.generation import prefixes
from mlx_model.generation.runner import Runner
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
    runner: Any = None
    failed: Exception | None = None

    def begin(self, model: Model, scheduler: Scheduler) -> Generator[PrefillProgress | int | None, None, None]:
        self.runner = Runner(model, scheduler)
        return self.runner.steps(  # type: ignore[no-any-return]
            self.prompt, self.options, boundaries=self.boundaries, constraint=self.constraint
        )


def read_in_turns(model: Any, readers: Sequence[Reader], scheduler: Scheduler, each_step: Callable[[], None]) -> None:
    """All of them, as the engine does: each up to where it waits, then a step."""
    waiting = sorted(readers, key=lambda reader: reader.comes)
    reading: list[tuple[Reader, Generator[PrefillProgress | int | None, None, None]]] = []
    turn = 0
    while waiting or reading:
        while waiting and waiting[0].comes <= turn:
            reading.append((waiting[0], waiting.pop(0).begin(cast(Model, model), scheduler)))
        reading = [(reader, steps) for reader, steps in reading if read(reader, steps, turn)]
        scheduler.step()
        each_step()
        turn += 1
        assert turn < 2000, "nobody gets any further"


def read(reader: Reader, steps: Generator[PrefillProgress | int | None, None, None], turn: int) -> bool:
    """Up to where the steps wait; whether they do."""
    try:
        for item in steps:
            if item is None:
                return True
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


# Rows of real models, in float32


@pytest.fixture(scope="module")
def demo() -> Model:
    return load("demo")


@pytest.mark.parametrize("way", ["as on a CPU", "as on a GPU"])
@settings(max_examples=4, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_models_give_a_row_the_tokens_it_has_alone(
    quick: Model, demo: Model, monkeypatch: pytest.MonkeyPatch, way: str, seed: int
) -> None:
    """Greedy ones and those of a seed. Sums are rounded in another order, and no draw here is so near a tie."""
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
    """Prompts of other lengths, some longer than the window; a single row is computed as ever, to the bit."""
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
    assert largest <= (0 if rows == 1 else 2e-5) * np.abs(alone).max()
