"""Sampling against numpy in float64, and its reproducibility."""

import os
from dataclasses import replace
from threading import Thread

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.errors import RequestError
from mlx_model.generation.sampling import Sampler, filtered
from mlx_model.options import Options

LOGITS = np.random.default_rng(0).normal(0, 3, 200).astype(np.float32)


def kept(options: Options, logits: np.ndarray = LOGITS) -> set[int]:
    """The ids that the filters leave."""
    found, order = filtered(mx.array(logits), options)
    result, ids = np.array(found), np.arange(len(logits)) if order is None else np.array(order)
    left = np.isfinite(result)
    assert np.array_equal(result[left], (logits - logits.max())[ids[left]])
    return set(ids[left].tolist())


def ranked(logits: np.ndarray = LOGITS) -> tuple[np.ndarray, np.ndarray]:
    """Ids by falling probability, and those probabilities, in float64."""
    order = np.argsort(-logits, kind="stable")
    exp = np.exp(logits[order].astype(np.float64) - logits.max())
    return order, exp / exp.sum()


def test_no_filter_keeps_all() -> None:
    assert kept(Options()) == set(range(200))


@pytest.mark.parametrize("k", [1, 2, 50, 199, 200, 10**30])
def test_top_k(k: int) -> None:
    assert kept(Options(top_k=k)) == set(ranked()[0][:k].tolist())


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.999])
def test_top_p_is_the_smallest_set_that_reaches_p(p: float) -> None:
    order, probabilities = ranked()
    count = int(np.searchsorted(np.cumsum(probabilities), p) + 1)
    assert kept(Options(top_p=p)) == set(order[:count].tolist())


@pytest.mark.parametrize("p", [0.01, 0.1, 0.9])
def test_min_p(p: float) -> None:
    order, probabilities = ranked()
    assert kept(Options(min_p=p)) == set(order[probabilities >= p * probabilities[0]].tolist())


def test_top_p_counts_what_top_k_left() -> None:
    order, probabilities = ranked()
    among = probabilities[:10] / probabilities[:10].sum()
    count = int(np.searchsorted(np.cumsum(among), 0.7) + 1)
    assert kept(Options(top_k=10, top_p=0.7)) == set(order[:count].tolist())


def test_boundaries_of_the_filters() -> None:
    """Just as likely as min-p asks is kept; a top-p that is reached exactly asks for no more; one of 1 keeps all."""
    just = float(np.array(mx.exp(mx.array(-1.0))))
    logits = np.array([0, -1, -1.001], np.float32)
    assert kept(Options(min_p=just), logits) == {0, 1}
    assert len(kept(Options(top_p=0.5), np.zeros(2, np.float32))) == 1
    assert len(kept(Options(top_p=0.75), np.zeros(4, np.float32))) == 3
    steep = np.arange(200, dtype=np.float32) * -1.0  # the end is lost in a float32 sum
    assert kept(Options(top_p=1.0), steep) == kept(Options(top_p=1.0, top_k=200), steep) == set(range(200))


@pytest.mark.parametrize(
    ("options", "unused"),
    [
        (Options(seed=1, min_p=0.1, repetition_penalty=1.1), "argsort"),
        (Options(seed=1, top_k=5), "cumsum"),
        (Options(seed=1, top_p=0.9), "exp"),
        (Options(temperature=0), "random"),
    ],
)
def test_what_is_not_asked_for_costs_nothing(monkeypatch: pytest.MonkeyPatch, options: Options, unused: str) -> None:
    """At each token, over 201,088 logits."""
    sampler = Sampler(options, len(LOGITS), [])
    monkeypatch.delattr(mx, unused)
    assert len(drawn_by(sampler, 3)) == 3
    assert len(sampler.state()) == (1 if options.repetition_penalty == 1 else 2)


@pytest.mark.parametrize("options", [Options(top_k=3), Options(top_p=0.6), Options(min_p=0.2)])
def test_filters_count_what_a_mask_allows(options: Options) -> None:
    """As if the other tokens did not exist."""
    allowed = np.arange(200) % 3 == 0
    sampler = Sampler(replace(options, seed=4, temperature=3.0), 200, [])
    mask = mx.array(allowed)
    drawn = {int(token) for token in np.array(mx.stack([sampler(mx.array(LOGITS), mask) for _ in range(600)]))}
    scaled = np.where(allowed, LOGITS - LOGITS[allowed].max(), -np.inf).astype(np.float32) / 3
    assert drawn == kept_alone(options, scaled, allowed)
    greedy = Sampler(Options(temperature=0), 200, [])(mx.array(LOGITS), mask)
    assert int(np.array(greedy)) == np.flatnonzero(allowed)[LOGITS[allowed].argmax()]


def kept_alone(options: Options, logits: np.ndarray, allowed: np.ndarray) -> set[int]:
    ids = np.flatnonzero(allowed)
    return {int(ids[i]) for i in kept(options, logits[allowed])}


def test_a_sampler_goes_on_in_another_thread() -> None:
    """MLX's lazy arrays belong to the thread they were made in; a stream may be read in any."""
    options = Options(seed=3, repetition_penalty=1.3)
    made: list[Sampler] = []
    thread = Thread(target=lambda: made.append(Sampler(options, 200, [5])))
    thread.start()
    thread.join()
    assert drawn_by(made[0], 5) == draw(options, 5, context=(5,))


def draw(options: Options, count: int, logits: np.ndarray = LOGITS, context: tuple[int, ...] = ()) -> list[int]:
    return drawn_by(Sampler(options, len(logits), list(context)), count, logits)


def drawn_by(sampler: Sampler, count: int, logits: np.ndarray = LOGITS) -> list[int]:
    tokens = mx.stack([sampler(mx.array(logits)) for _ in range(count)])
    return [int(token) for token in np.array(tokens)]


def test_greedy() -> None:
    assert draw(Options(temperature=0), 3) == [int(LOGITS.argmax())] * 3
    assert draw(Options(temperature=0), 20, np.ones(5, np.float32)) == [0] * 20


def test_equal_seeds_draw_equal_tokens() -> None:
    first, again, other = (draw(Options(seed=seed), 40) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert len(set(first)) > 5


def test_without_a_seed_one_is_drawn_and_known() -> None:
    sampler = Sampler(Options(), 200, [])
    assert draw(Options(seed=sampler.seed), 20) == drawn_by(sampler, 20)
    assert Sampler(Options(), 200, []).seed != sampler.seed


def test_a_seed_that_is_drawn_has_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda count: b"\xff" * count)
    assert Sampler(Options(), 200, []).seed == 2**32 - 1


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        *((Options(temperature=temperature, seed=1), 8) for temperature in (0.5, 1.0, 2.0, 1e38)),
        (Options(temperature=2.0, seed=2, top_k=3), 3),
        (Options(temperature=0.7, seed=3, top_p=0.75), 3),
        (Options(temperature=1.5, seed=4, min_p=0.4), 3),
        (Options(temperature=1.5, seed=4, top_k=5, min_p=0.4), 3),
    ],
)
def test_frequencies(options: Options, kept: int) -> None:
    """2,000 draws: chi-squared over the tokens stays below the 99.99% quantile of 7 degrees of freedom."""
    logits = np.array([2, 1, 0, 0, -1, 1.5, 0.5, -0.5], np.float32)
    exp = np.exp(logits.astype(np.float64) / options.temperature)
    exp = np.where(exp >= np.sort(exp)[-kept], exp, 0)
    expected = 2000 * exp / exp.sum()
    drawn = np.bincount(draw(options, 2000, logits), minlength=8)
    assert not drawn[exp == 0].any()
    assert ((drawn - expected)[exp > 0] ** 2 / expected[exp > 0]).sum() < 29.9


def test_a_draw_depends_on_its_number_and_not_on_the_step_before() -> None:
    """Across the places where keys are made anew; what is taken back is drawn again."""
    sampler, logits = Sampler(Options(seed=5), 200, []), mx.array(LOGITS)
    again = Sampler(Options(seed=5), 200, [])
    tokens = [int(np.array(sampler(logits))) for _ in range(600)]
    assert len({*zip(tokens, tokens[256:], strict=False)}) > 100  # other keys in each block
    found = []
    for number in range(600):
        if number in (0, 1, 255, 256, 257, 512):
            again(logits)
            again.take_back()
        found.append(int(np.array(again(logits))))
    assert found == tokens


def test_a_draw_ahead_is_the_next_draw_unless_tokens_come_before_it() -> None:
    """With a penalty, which remembers what was drawn, and log probabilities, of which each draw has its own."""
    options = Options(seed=5, repetition_penalty=1.3, logprobs=2)
    ahead, plain = (Sampler(options, 200, [3]) for _ in range(2))
    for number in range(40):
        logits = mx.array(np.roll(LOGITS, number))
        ahead.ahead(logits)
        if number % 4 == 3:
            ahead.skip([number, 7])
            plain.skip([number, 7])
            logits = mx.array(LOGITS)
        assert int(np.array(ahead(logits))) == int(np.array(plain(logits)))
        mine, theirs = ahead.drawn(), plain.drawn()
        assert mine is not None
        assert theirs is not None
        assert [np.array(each).tolist() for each in mine.arrays] == [np.array(each).tolist() for each in theirs.arrays]
        assert ahead.drawn() is None


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-38, 1e-9, 1e-4])
def test_next_to_no_temperature_is_greedy(temperature: float) -> None:
    for options in (Options(temperature=temperature), Options(temperature=temperature, top_p=0.9, min_p=0.1)):
        assert draw(options, 5) == [int(LOGITS.argmax())] * 5


@pytest.mark.parametrize("scale", [1e-3, 1e5, 1e32])
def test_next_to_no_temperature_is_greedy_however_large_the_logits(scale: float) -> None:
    logits = (LOGITS * scale).astype(np.float32)
    assert draw(Options(temperature=1e-9, seed=1), 5, logits) == [int(LOGITS.argmax())] * 5


def test_filtered_tokens_are_never_drawn() -> None:
    assert set(draw(Options(top_k=2, temperature=5.0, seed=3), 200)) == set(ranked()[0][:2].tolist())


def test_repetition_penalty_on_prompt_and_on_what_was_drawn() -> None:
    logits = np.array([3.0, 2.9, 2.8, -1.0], np.float32)
    options = Options(temperature=0, repetition_penalty=1.5)
    # 3.0 falls to 2.0 once drawn, then 2.9, then 2.8; then the largest of the penalised again.
    assert draw(options, 4, logits) == [0, 1, 2, 0]
    assert draw(options, 1, logits, context=(0,)) == [1]
    assert draw(options, 1, np.array([-1.0, -1.2], np.float32), context=(0,)) == [1]


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.1, 2.0, 4.0])
@pytest.mark.parametrize(
    "values",
    [
        [3.0, 2.9, 2.8, -0.5, 2.7, 0.0],
        [0.9, 0.88, 0.85, -0.5, 0.7, 0.84],
        [-1.0, -1.05, -1.07, -1.2, -3.0, -1.25],
    ],
)
def test_repetition_penalty_is_that_of_the_paper(penalty: float, values: list[float]) -> None:
    """CTRL's: logits of tokens in the context are divided where positive, multiplied where negative."""
    logits = np.array(values, np.float32)
    seen, expected = {1, 4}, list[int]()
    for _ in range(6):
        penalised = np.where(logits > 0, logits / penalty, logits * penalty)
        expected.append(int(np.where([i in seen for i in range(6)], penalised, logits).argmax()))
        seen.add(expected[-1])
    assert (expected == [0] * 6) == (penalty == 1) or penalty < 1
    assert draw(Options(temperature=0, repetition_penalty=penalty), 6, logits, context=(1, 4)) == expected
    # The same counts where tokens are drawn.
    drawn = draw(Options(seed=1, repetition_penalty=penalty, top_k=1), 6, logits, context=(1, 4))
    assert drawn == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"min_p": 1},
        {"repetition_penalty": 0},
        {"seed": -1},
        {"seed": 1.5},
        {"max_tokens": 2.5},
        {"max_tokens": "5"},
        {"max_tokens": True},
        {"top_k": 2.5},
        {"temperature": None},
        {"stop": (5,)},
        {"seed": 2**64},
        {"max_tokens": 0},
        {"stop": ("",)},
        {"effort": "off"},
    ],
)
def test_wrong_options(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError) as error:
        Options(**wrong)  # type: ignore[arg-type]
    assert next(iter(wrong)) in str(error.value)


def test_options_json_round_trip() -> None:
    options = Options(effort="high", top_k=3, stop="END")  # type: ignore[arg-type]
    assert Options(**options.to_json()) == options
    assert options.stop == ("END",)
