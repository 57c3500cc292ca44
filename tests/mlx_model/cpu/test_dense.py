"""Dense products on a CPU against float64: all formats, odd sizes, 0 to 130 tokens, 1, 2 and 4 threads."""

from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from mlx_model.cpu.kernels.dense import dense, dense_add, dense_three
from mlx_model.cpu.kernels.formats import Affine4, Affine6, Affine8, Floats
from mlx_model.cpu.kernels.products import dot
from tests.mlx_model.cpu.matrices import TEAMS, arranged, dense_matrix, frozen

FORMATS = (Floats, Affine8, Affine6, Affine4)
SIZES = [(1, 64, 1), (2, 192, 3), (7, 2880, 5), (8, 128, 2), (9, 320, 4), (33, 64, 130), (300, 1024, 49), (5, 192, 0)]
SIZES += [(150, 448, 1), (150, 448, 2), (70, 64, 3)]
"""Rows, columns, tokens."""


def product(kernel: Any, threads: int, matrix: Any, x: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    """Runs a kernel on a team."""
    lanes = arranged(x, type(matrix))
    TEAMS[threads].run(lambda state, part: kernel(state, part, matrix, lanes, y))


@pytest.mark.parametrize("kind", FORMATS)
def test_products_are_those_of_float64(kind: type) -> None:
    rng = np.random.default_rng(1)
    for index, (rows, columns, tokens) in enumerate(SIZES):
        matrix, weights, bias = dense_matrix(rng, kind, rows, columns, biased=index % 2 == 0)
        x = rng.normal(size=(tokens, columns)).astype(np.float32)
        expected = x.astype(np.float64) @ weights.T + bias
        bound = 1e-6 * (np.abs(x) @ np.abs(weights).T + np.abs(bias)) + 1e-30
        results = []
        for threads in TEAMS:
            y = np.full((tokens, rows), np.nan, np.float32)
            product(dense, threads, matrix, x, y)
            assert (np.abs(y - expected) <= bound).all(), (rows, columns, tokens, threads)
            results.append(y.tobytes())
        assert len({*results}) == 1, "the number of threads may change no bit"
        alone = np.zeros((1, rows), np.float32)
        for token in range(min(tokens, 4)):
            product(dense, 1, matrix, x[token : token + 1], alone)
            assert np.array_equal(alone[0], y[token]), "nor may the other tokens"
        if kind is not Floats:
            continue  # what follows knows nothing of formats
        stream = rng.normal(size=(tokens, rows)).astype(np.float32)
        y = stream.copy()
        product(dense_add, 2, matrix, x, y)
        assert (np.abs(y - (stream + expected)) <= bound + 1e-6 * np.abs(stream)).all()


def test_three_matrices_share_one_input() -> None:
    rng = np.random.default_rng(2)
    made = [dense_matrix(rng, Floats, rows, 160) for rows in (70, 9, 1)]
    for tokens in (1, 6):
        x = rng.normal(size=(tokens, 160)).astype(np.float32)
        found = [np.full((tokens, len(bias)), np.nan, np.float32) for _, _, bias in made]
        a, b, c = (matrix for matrix, _, _ in made)
        for threads in TEAMS:
            TEAMS[threads].run(lambda state, part: dense_three(state, part, a, b, c, x, *found))  # noqa: B023
            for y, (_, weights, bias) in zip(found, made, strict=True):
                np.testing.assert_allclose(y, x.astype(np.float64) @ weights.T + bias, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", [Floats, Affine4])
def test_what_is_no_number_stays_in_its_row(kind: type) -> None:
    rng = np.random.default_rng(3)
    matrix, weights, _ = dense_matrix(rng, kind, 9, 192)
    for value in (np.nan, np.inf):
        for tokens in (1, 5):
            x = rng.normal(size=(tokens, 192)).astype(np.float32)
            x[-1, 77] = value
            y = np.zeros((tokens, 9), np.float32)
            product(dense, 1, matrix, x, y)
            assert np.isfinite(y[:-1]).all()
            if np.isnan(value):
                assert np.isnan(y[-1]).all()
            else:
                assert not np.isfinite(y[-1, weights[:, 77] != 0]).any()


def test_float32_weights_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(4)
    weights = rng.normal(size=(11, 96)).astype(np.float32)
    x = rng.normal(size=(1, 96)).astype(np.float32)

    @njit
    def products(matrix, x, y):  # type: ignore[no-untyped-def]
        for row in range(len(y)):
            y[row] = dot(matrix, row, x, 0)

    y = np.zeros(11, np.float32)
    products(Floats(frozen(weights), frozen(np.zeros(0, np.float32))), x, y)
    np.testing.assert_allclose(y, weights.astype(np.float64) @ x[0], rtol=0, atol=1e-5)
