"""Dense products: y = x W^T + bias, for a few tokens row by row, for more in tiles, to the same bits."""

from typing import Any

import numpy as np

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.panels import BAND, GROUP, few_sums, panel_sums
from mlx_model.cpu.kernels.portions import portion, portions, shortest
from mlx_model.cpu.kernels.products import ROWS_OF_PANEL, total
from mlx_model.cpu.kernels.sharing import take

PAIRED = 3
"""Most tokens that meet a matrix two at a time and not in tiles: a panel for so few costs more than it saves."""
_PUT, _ADD = np.bool_(False), np.bool_(True)
"""Whether _rows adds: of numpy, see `kernel`."""


@kernel
def _shortest(x: Any) -> Any:
    """Rows of the shortest portion of a product with x [T, padded k]."""
    return shortest(x.shape[1], 1 if len(x) == 1 else 1 + len(x) // 4, ROWS_OF_PANEL)


@kernel
def _put(y: Any, token: int, row: int, value: Any, bias: Any, add: bool) -> None:
    """The value and the row's bias, if any, to y or added to it."""
    if len(bias) > 0:
        value += bias[row]
    y[token, row] = y[token, row] + value if add else value


@kernel
def _rows(state: Any, part: int, matrix: Any, x: Any, y: Any, chunk: int, add: bool) -> None:
    """A portion of the rows of a product, to y or added to it."""
    tokens, n = y.shape
    first, end = portion(chunk, n, len(state) - 1, _shortest(x))
    lines = np.arange(tokens)
    if tokens <= PAIRED:
        for row in range(first, end, BAND):
            few = few_sums(state, part, matrix, row, min(BAND, end - row), x, lines, 0, tokens)
            for t in range(tokens):
                for r in range(min(BAND, end - row)):
                    _put(y, t, row + r, few[r, t], matrix.bias, add)
        return
    for start in range(0, tokens, GROUP):
        stop = min(start + GROUP, tokens)
        for row in range(first, end, ROWS_OF_PANEL):
            sums = panel_sums(state, part, matrix, row, n - 1, x, lines, start, stop)
            for t in range(stop - start):
                for r in range(min(ROWS_OF_PANEL, end - row)):
                    _put(y, start + t, row + r, total(sums, stop - start, t, r), matrix.bias, add)


@kernel
def _chunks(state: Any, x: Any, y: Any) -> Any:
    """How many portions a product to y has."""
    return portions(y.shape[1], len(state) - 1, _shortest(x))


@kernel
def dense(state: Any, part: int, matrix: Any, x: Any, y: Any) -> None:
    """y [T, n] = x [T, padded k] W^T + bias. One phase."""
    chunks = _chunks(state, x, y)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        _rows(state, part, matrix, x, y, chunk, _PUT)
        chunk = take(state, part, chunks)


@kernel
def dense_add(state: Any, part: int, matrix: Any, x: Any, y: Any) -> None:
    """y [T, n] += x [T, padded k] W^T + bias. One phase."""
    chunks = _chunks(state, x, y)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        _rows(state, part, matrix, x, y, chunk, _ADD)
        chunk = take(state, part, chunks)


@kernel
def dense_three(state: Any, part: int, a: Any, b: Any, c: Any, x: Any, ya: Any, yb: Any, yc: Any) -> None:
    """ya, yb, yc = the products of three matrices with the same x. One phase."""
    second = _chunks(state, x, ya)
    third = second + _chunks(state, x, yb)
    chunks = third + _chunks(state, x, yc)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        if chunk < second:
            _rows(state, part, a, x, ya, chunk, _PUT)
        elif chunk < third:
            _rows(state, part, b, x, yb, chunk - second, _PUT)
        else:
            _rows(state, part, c, x, yc, chunk - third, _PUT)
        chunk = take(state, part, chunks)
