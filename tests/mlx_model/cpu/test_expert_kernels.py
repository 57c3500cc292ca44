"""The experts' kernels against float64: odd sizes, any routing, every scale, what is no number."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlx_model.cpu.kernels import vectors
from mlx_model.cpu.kernels.experts import down, few_down, few_gate_up, gate_up
from mlx_model.cpu.kernels.formats import Affine4, Experts
from mlx_model.cpu.kernels.lanes import padded, place
from mlx_model.cpu.kernels.panels import BAND, FEW
from mlx_model.cpu.kernels.products import COLUMNS, ROWS_OF_PANEL, dot, dot_two, widen
from tests.mlx_model.cpu.matrices import (
    E2M1,
    TEAMS,
    arranged,
    dense_matrix,
    expert_matrix,
    frozen,
    in_digits,
    in_slots,
    read_digits,
    unpacked,
)

LIMIT = np.float32(7)
SIZES = [(2, 2, 32, 1), (3, 30, 96, 2), (4, 18, 2880, 1), (5, 34, 192, 33), (2, 16, 128, 130), (3, 6, 64, 0)]
"""Experts, rows, columns, tokens."""
needs_byte_products = pytest.mark.skipif(not vectors.BYTE_PRODUCTS, reason="this processor adds no products of bytes")
digits_or_floats = pytest.mark.parametrize(
    "digits", [False, pytest.param(True, marks=needs_byte_products)], ids=["floats", "digits"]
)
Lines = NDArray[Any]
"""Of float32, or of int8 for digits."""


def lines_of(x: NDArray[np.float32], *, digits: bool) -> Lines:
    """Activations as the experts' kernels take them."""
    return in_digits(x) if digits else arranged(x, Experts)


def empty_lines(rows: int, columns: int, *, digits: bool) -> Lines:
    """Room for as much."""
    lines = np.zeros((rows, padded(columns, 8)), np.float32)
    return lines.view(np.int8) if digits else lines


def read(lines: Lines, columns: int) -> NDArray[np.float64]:
    """The activations of such lines."""
    if lines.dtype == np.int8:
        numbers, units = read_digits(lines)
        return (numbers * units)[:, :columns]
    found: NDArray[np.float64] = lines[:, [place(j, 8) for j in range(columns)]].astype(np.float64)
    return found


def routed(rng: np.random.Generator, experts: int, tokens: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(starts, tokens) of pairs that are sorted by expert; each token takes two of them, and the last expert none."""
    chosen = rng.integers(0, experts - 1, 2 * tokens)
    order = np.argsort(chosen, kind="stable")
    return np.searchsorted(chosen[order], np.arange(experts + 1)), order // 2


def through(
    weights: NDArray[np.float64], bias: NDArray[np.float32], rows: NDArray[np.float32], starts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The rows of each pair through its expert."""
    experts = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    found = [weights[e] @ row.astype(np.float64) + bias[e] for e, row in zip(experts, rows, strict=True)]
    return np.array(found).reshape(len(rows), weights.shape[1])


@digits_or_floats
@pytest.mark.parametrize("few", [True, False])
def test_gate_up_and_down_are_those_of_float64(few: bool, digits: bool) -> None:
    """Few tokens may go either way, as floats."""
    if digits and not few:
        pytest.skip("many tokens are floats")
    rng = np.random.default_rng(5)
    through_gate_up, through_down = (few_gate_up, few_down) if few else (gate_up, down)
    for experts, rows, columns, tokens in [sizes for sizes in SIZES if not few or sizes[-1] <= FEW]:
        matrix, weights, bias = expert_matrix(rng, experts, rows, columns)
        matrix, slots = in_slots(rng, matrix)
        starts, of = routed(rng, experts, tokens)
        x = rng.normal(size=(tokens, columns)).astype(np.float32)
        both = through(weights, bias, x[of], starts)
        gate, up = np.minimum(both[:, ::2], 7), np.clip(both[:, 1::2], -7, 7)
        expected = gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
        factors = rng.random(len(of)).astype(np.float32)
        stream = rng.normal(size=(tokens, rows)).astype(np.float32)
        pairs = rng.normal(size=(len(of), columns)).astype(np.float32)
        summed = stream.astype(np.float64)
        np.add.at(summed, of, factors[:, None] * through(weights, bias, pairs, starts))
        lanes, pair_lanes, results = lines_of(x, digits=digits), lines_of(pairs, digits=digits), []
        for threads in TEAMS:
            hidden = empty_lines(len(of), rows // 2, digits=digits)
            y = stream.copy()
            given: tuple[Any, ...] = (matrix, slots, lanes, starts, of, LIMIT, hidden)
            TEAMS[threads].run(lambda state, part: through_gate_up(state, part, *given))  # noqa: B023
            given = (matrix, slots, pair_lanes, starts, of, factors, y)
            TEAMS[threads].run(lambda state, part: through_down(state, part, *given))  # noqa: B023
            np.testing.assert_allclose(read(hidden, rows // 2), expected, rtol=2e-5, atol=2e-5)
            np.testing.assert_allclose(y, summed, rtol=2e-5, atol=2e-5)
            results.append(hidden.tobytes() + y.tobytes())
        assert len({*results}) == 1, "the number of threads may change no bit"


@digits_or_floats
@pytest.mark.parametrize("tokens", [2, 5, FEW])
def test_each_of_a_few_tokens_has_the_bits_that_it_has_alone(tokens: int, digits: bool) -> None:
    """One to all of them in one expert, more rows than a band has."""
    rng = np.random.default_rng(8)
    rows, columns = 2 * BAND + 6, 288
    matrix, slots = in_slots(rng, expert_matrix(rng, 4, rows, columns)[0])
    starts, of = routed(rng, 4, tokens)
    factors = rng.random(len(of)).astype(np.float32)
    drawn = (rng.normal(size=(n, columns)).astype(np.float32) for n in (tokens, len(of)))
    x, pairs = (lines_of(each, digits=digits) for each in drawn)

    def computed(token: slice, mine: NDArray[np.bool_]) -> tuple[Lines, NDArray[np.float32]]:
        experts = np.repeat(np.arange(4), np.diff(starts))[mine]
        own, lines = np.searchsorted(experts, np.arange(5)), of[mine] - token.start
        hidden = empty_lines(len(lines), rows // 2, digits=digits)
        y = np.ones((token.stop - token.start, rows), np.float32)
        TEAMS[2].run(lambda state, part: few_gate_up(state, part, matrix, slots, x[token], own, lines, LIMIT, hidden))
        TEAMS[2].run(
            lambda state, part: few_down(state, part, matrix, slots, pairs[mine], own, lines, factors[mine], y)
        )
        return hidden, y

    together = computed(slice(0, tokens), np.ones(len(of), bool))
    for token in range(tokens):
        hidden, y = computed(slice(token, token + 1), of == token)
        assert np.array_equal(hidden, together[0][of == token])
        assert np.array_equal(y[0], together[1][token])


def every_weight() -> tuple[Experts, NDArray[np.float32]]:
    """A matrix with a row for every scale, and its weights: every code, where float32 has room for it."""
    scales = np.arange(255, dtype=np.uint8)[:, None].repeat(4, axis=1)
    codes = np.tile(np.arange(16, dtype=np.uint8), (255, 8))
    codes[-2:] &= 0b1001  # 0 and 0.5, since others are too large there for float32
    blocks = (codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8)
    matrix = Experts(frozen(blocks[None]), frozen(scales[None]), frozen(np.zeros((1, 255), np.float32)))
    return matrix, unpacked(blocks, scales).astype(np.float32)


@needs_byte_products
def test_every_code_with_every_scale_in_digits() -> None:
    from numba import njit

    @njit
    def weights_of(matrix, x, found):  # type: ignore[no-untyped-def]
        for row in range(len(found)):
            for j in range(0, len(x), 2):
                found[row, j], found[row, j + 1] = dot_two(matrix, row, x, j, j + 1)

    matrix, expected = every_weight()
    found = np.zeros((255, 128), np.float32)
    weights_of(matrix, in_digits(np.eye(128, dtype=np.float32)), found)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("wide", [True, False])
def test_every_code_with_every_scale(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row a scale; weights come out one at a time. `wide` is AVX-512's look-up, the other is that of the rest."""
    if wide and not vectors.AVX512:
        pytest.skip("this processor has no AVX-512")
    monkeypatch.setattr(vectors, "AVX512", wide)
    from numba import njit

    @njit
    def weights_of(matrix, x, found, widened):  # type: ignore[no-untyped-def]
        for row in range(len(found)):
            for j in range(len(x)):
                found[row, j] = dot(matrix, row, x, j)
            widen(matrix, row, 0, widened.shape[1], widened, row * widened.shape[1])

    matrix, expected = every_weight()
    x = arranged(np.eye(128, dtype=np.float32), Experts)
    found, widened = np.zeros((255, 128), np.float32), np.zeros((255, 128), np.float32)
    weights_of(matrix, x, found, widened)
    order = [place(j, 8) for j in range(128)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(widened[:, order], expected)
    assert {*np.abs(found[127])} == {*np.abs(E2M1)}
    affine, weights, _ = dense_matrix(np.random.default_rng(6), Affine4, 3, 192)
    found, widened = np.zeros((3, 192), np.float32), np.zeros((3, 256), np.float32)
    weights_of(affine, arranged(np.eye(192, dtype=np.float32), Affine4), found, widened)
    np.testing.assert_allclose(found, weights, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(widened[:, [place(j, 8) for j in range(192)]], weights, rtol=1e-6, atol=1e-7)


@digits_or_floats
def test_what_is_no_number_stays_with_its_token(digits: bool) -> None:
    rng = np.random.default_rng(7)
    matrix, slots = in_slots(rng, expert_matrix(rng, 2, 10, 96)[0])
    x = rng.normal(size=(3, 96)).astype(np.float32)
    x[1, 40] = np.nan
    starts, of = np.array([0, 1, 3]), np.array([1, 0, 1])  # one pair alone, two together
    lanes, hidden = lines_of(x, digits=digits), empty_lines(3, 5, digits=digits)
    TEAMS[1].run(lambda state, part: few_gate_up(state, part, matrix, slots, lanes, starts, of, LIMIT, hidden))
    found = read(hidden, 5)
    assert np.isnan(found[[0, 2]]).all()
    assert np.isfinite(found[1]).all()


def test_a_panel_holds_whole_chunks() -> None:
    assert COLUMNS % 128 == 0
    assert ROWS_OF_PANEL % 2 == 0, "a gate row and its up row are in one panel"
