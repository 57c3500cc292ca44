"""Guesses at what comes next: right or wrong, they change no answer, and leave nothing in a cache."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import mlx.core as mx
import numpy as np
import pytest

from mlx_model import Model
from mlx_model.generation import runner as runner_module
from mlx_model.generation.lookup import MOST_GUESSES, PromptLookup
from mlx_model.generation.runner import Runner
from mlx_model.generation.scheduler import Scheduler
from mlx_model.options import Options
from mlx_model.transformer.cache import Cache
from tests.fixtures.gpu_way import step_ahead
from tests.fixtures.small_model import VOCAB, Small, Transformer, answer
from tests.mlx_model.generation.test_runner_forced import Forcing
from tests.mlx_model.generation.test_runner_forced import expected as forced_answer
from tests.mlx_model.generation.test_runner_steps import PROMPT, consistent, ids

GUESSING = Options(temperature=0, max_tokens=20, prompt_lookup=True)


class Seer(PromptLookup):
    """Guesses what a table of whole sequences says, each token of it wrong now and then."""

    known: tuple[list[int], ...] = ()
    dice = random.Random(0)
    ends: tuple[int, ...] = ()
    """Where what may be guessed had to end."""

    def guess(self, most: int) -> list[int]:
        at = len(self._ids)
        Seer.ends += (at + most,)
        true = next(
            (
                each[at : at + self.dice.randint(0, min(most, MOST_GUESSES))]
                for each in self.known
                if each[:at] == self._ids
            ),
            [],
        )
        self._open = [token if self.dice.random() < 0.7 else (token + 1) % VOCAB for token in true]
        self.guessed += len(self._open)
        return self._open


@pytest.fixture
def seer(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Seer]]:
    monkeypatch.setattr(runner_module, "PromptLookup", Seer)
    Seer.dice = random.Random(0)
    yield Seer
    Seer.known = Seer.ends = ()


def small(**changes: Any) -> tuple[Runner, Small]:
    model = Small(Transformer(steps_ahead=changes.pop("steps_ahead", False)), **changes)
    return Runner(cast(Model, model)), model


def test_what_stood_behind_the_last_tokens_is_guessed() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 6, 9, 2, 3, 7])
    assert lookup.guess(9) == []  # nothing stood behind 2, 3, 7
    for token in (1, 2):
        lookup.take(token)
    assert lookup.guess(9) == [3, 4, 5]
    assert [lookup.take(token) for token in (3, 4, 8)] == [True, True, False]
    for token in (2, 3):
        lookup.take(token)
    assert lookup.guess(9) == [4, 8, 2]  # where 2, 3 stood last but now
    lookup.skip([1, 2, 3])
    assert not lookup.take(4)  # what came in between was no guess
    lookup.skip([1, 2, 3])
    assert lookup.guess(1) == [4] and lookup.guess(0) == []
    assert (lookup.guessed, lookup.accepted) == (7, 2)
    assert PromptLookup([1, 2, 3, 4, 9, 2, 3, 7, 1, 2, 3]).guess(1) == [4]  # three tokens that agree come before two


def test_where_guesses_bring_little_they_stop_for_a_while() -> None:
    lookup, new = PromptLookup([5, 6, 7, 8, 8, 8]), iter(range(1000, 2000))

    def trials(right: int) -> int:
        """Eight guesses, of each of which so many are right; how many tokens it takes until the next."""
        for _ in range(8):
            lookup.skip([5, 6, 7])
            for token in lookup.guess(3)[:right]:
                assert lookup.take(token)
            lookup.take(next(new))
            lookup.skip([5, 6, 7, 8, 8, 8])
        for count in range(2000):
            lookup.skip([5, 6, 7])
            if lookup.guess(1):
                lookup._trials = 0
                return 3 * count
        raise AssertionError("never again")

    assert trials(1) == 0  # one right in three pays
    pauses = [trials(0) for _ in range(6)]
    assert pauses == pytest.approx([32, 64, 128, 256, 512, 512], abs=3)
    assert trials(3) == 0 and trials(0) == pytest.approx(32, abs=3)


@pytest.mark.parametrize("steps_ahead", [False, True])
def test_guesses_change_no_answer_and_no_cache(seer: type[Seer], steps_ahead: bool) -> None:
    """Whatever is guessed right or wrong, wherever the answer is left, far past the window of a sliding layer."""
    dice = random.Random(1)
    runner, model = small(steps_ahead=steps_ahead)
    prompt, guessed = list(PROMPT), 0
    for turn in range(12):
        options = replace(GUESSING, max_tokens=dice.randint(1, 25))
        count = options.max_tokens or 0
        true = answer(prompt, count)
        seer.known = ([*prompt, *true, 7, 7, 7],)
        seen: list[int] = []
        stream = runner.run(prompt, options, boundaries=[0, len(prompt) - 1])
        for item in stream:
            seen += [item] if isinstance(item, int) else []
            if turn % 3 == 2 and len(seen) > count // 2:
                break
        stream.close()
        assert seen == true[: len(seen)] and consistent(runner)
        assert runner.stats.reused_tokens == (0 if turn == 0 else len(prompt) - 1)  # the last answer, and no guess
        assert runner.stats.accepted_tokens <= runner.stats.guessed_tokens
        guessed += runner.stats.guessed_tokens
        prompt = [*prompt, *seen]
    steps = len([call for call in model.transformer.calls if call[1] == "all"])
    assert guessed > 100 and steps < 0.8 * (len(prompt) - len(PROMPT))
    assert {tokens for tokens, logits in model.transformer.calls if logits == "all"} == {1, 2, 3, 4}


def test_guesses_keep_to_a_constraint_and_to_what_is_inserted(seer: type[Seer]) -> None:
    for parts in ([0], [3, 1, 2, 0]):
        true, refused = forced_answer(40)
        seer.known = ([*PROMPT, *true],)
        runner, _ = small()
        constraint = Forcing(parts)
        found = ids(runner.run(PROMPT, replace(GUESSING, max_tokens=40), constraint=constraint))
        assert (found, constraint.refused) == (true, refused)
        assert consistent(runner) and runner.stats.accepted_tokens
    runner, _ = small()
    true = answer(PROMPT, 20)
    seer.known = ([*PROMPT, *true],)
    seen = []
    for item in runner.run(PROMPT, GUESSING):
        if isinstance(item, int):
            seen.append(item)
            if len(seen) == 5:
                runner.insert([1, 2])
                begun = [*PROMPT, *seen, 1, 2]
                seer.known = ([*begun, *answer(begun, 13)],)
    assert seen == [*true[:5], *answer([*PROMPT, *true[:5], 1, 2], 13)] and consistent(runner)


def test_guesses_stop_at_the_end_of_the_context_and_beside_another_row(seer: type[Seer]) -> None:
    runner, model = small(context_length=len(PROMPT) + 6)
    true = answer(PROMPT, 12)
    seer.known = ([*PROMPT, *true],)
    assert ids(runner.run(PROMPT, GUESSING)) == true[:6]
    assert set(seer.ends) == {model.context_length}
    model.context_length = 300
    scheduler = Scheduler(cast(Model, model))
    both = [Runner(cast(Model, model), scheduler) for _ in range(2)]
    streams = [each.steps(PROMPT, replace(GUESSING, max_tokens=most)) for each, most in zip(both, (6, 12), strict=True)]
    ended = object()
    while streams:
        streams = [stream for stream in streams if next((item for item in stream if item is None), ended) is None]
    assert both[0].stats.guessed_tokens == 0 < both[1].stats.guessed_tokens


@pytest.mark.parametrize("ahead", [False, True])
def test_equal_seeds_give_equal_answers_with_guesses(
    quick: Model, seer: type[Seer], ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real model, whose logits of four tokens are those of one by one but for the rounding of sums."""
    if ahead:
        step_ahead(monkeypatch, quick)
    prompt = [(i * i) % 300 for i in range(150)]
    for seed, options in enumerate((
        Options(temperature=0, repetition_penalty=1.3),
        Options(temperature=1.0),
        Options(temperature=0.8, top_p=0.9, logprobs=2),
        Options(temperature=1.2, top_k=20, min_p=0.05),
    )):  # fmt: skip
        options = replace(options, seed=seed, max_tokens=30)
        without = ids(Runner(quick).run(prompt, options))
        seer.known = ([*prompt, *without],)
        runner = Runner(quick)
        draws, found = [], []
        for item in runner.run(prompt, replace(options, prompt_lookup=True)):
            if isinstance(item, int):
                found.append(item)
                draws.append(runner.draw)
        assert found == without and runner.stats.accepted_tokens > 3
        assert all((draw is None) == (options.logprobs is None) for draw in draws)


class Chain(Transformer):
    """The logits behind a token depend on nothing but that token."""

    TABLE = mx.random.normal((VOCAB, VOCAB), key=mx.random.key(3)) * 2

    def __call__(self, tokens: mx.array, caches: Sequence[Cache], logits: str) -> mx.array:
        keys = tokens.astype(mx.float32).reshape(1, 1, -1, 1)
        for layer in range(2):
            caches[0].append(layer, keys, keys)
        caches[0].advance(tokens.shape[1])
        return self.TABLE[tokens if logits == "all" else tokens[:, -1:]]


class Likeliest(PromptLookup):
    """Guesses the likeliest token behind each."""

    NEXT = np.array(Chain.TABLE).argmax(axis=1)

    def guess(self, most: int) -> list[int]:
        self._open = [int(self.NEXT[self._ids[-1]])]
        while len(self._open) < MOST_GUESSES:
            self._open.append(int(self.NEXT[self._open[-1]]))
        return self._open


def test_guessed_tokens_are_drawn_from_the_model_s_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chi-squared over the tokens behind each token, of which the likeliest is always guessed."""
    monkeypatch.setattr(runner_module, "PromptLookup", Likeliest)
    model = Small(Chain(), context_length=2000)
    runner = Runner(cast(Model, model))
    count = 1200
    found = ids(runner.run([1, 2], Options(seed=11, max_tokens=count, prompt_lookup=True)))
    assert len(found) == count and 0.2 * count < runner.stats.accepted_tokens < 0.6 * count
    shares = np.exp(np.array(Chain.TABLE, np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    seen = np.zeros((VOCAB, VOCAB))
    np.add.at(seen, (found[:-1], found[1:]), 1)
    means = seen.sum(axis=1, keepdims=True) * shares
    often = means >= 5  # of each token behind another; all else behind it is one class
    classes = [
        (seen[often], means[often]),
        (np.where(often, 0, seen).sum(axis=1), np.where(often, 0, means).sum(axis=1)),
    ]
    chi_squared = sum(((found - mean) ** 2 / mean)[mean >= 5].sum() for found, mean in classes)
    freedom = often.sum() + (classes[1][1] >= 5).sum() - (often.any(axis=1)).sum()
    assert freedom > 50 and chi_squared < freedom + 4 * (2 * freedom) ** 0.5, (chi_squared, freedom)
