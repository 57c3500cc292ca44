"""Dense products: y = x W^T + bias, for a few tokens row by row, for more in tiles, to the same bits."""

from typing import Any

import numpy as np

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.panels import BAND, GROUP, few_sums, panel_sums
from mlx_model.cpu.kernels.products import ROWS_OF_PANEL, total
from mlx_model.cpu.kernels.sharing import take

CHUNK = 1 << 17
"""Products of weights and activations that are worth a ticket, about: 10 to 20 microseconds."""
PAIRED = 3
"""Most tokens that meet a matrix two at a time and not in tiles: a panel for so few costs more than it saves."""
_PUT, _ADD = np.bool_(False), np.bool_(True)
"""Whether _rows adds: of numpy, see `kernel`."""


@kernel
def rows_of_chunk(columns: int, tokens: int) -> int:
    """How many rows a thread takes at once: whole panels."""
    rows = CHUNK // (columns * (1 if tokens == 1 else 1 + tokens // 4))
    return max(1, rows // ROWS_OF_PANEL) * ROWS_OF_PANEL


@kernel
def _put(y: Any, token: int, row: int, value: Any, bias: Any, add: bool) -> None:
    """The value and the row's bias, if any, to y or added to it."""
    if len(bias) > 0:
        value += bias[row]
    y[token, row] = y[token, row] + value if add else value


@kernel
def _rows(state: Any, part: int, matrix: Any, x: Any, y: Any, chunk: int, add: bool) -> None:
    """A chunk of the rows of a product, to y or added to it."""
    tokens, n = y.shape
    each = rows_of_chunk(x.shape[1], tokens)
    first, end = chunk * each, min(n, (chunk + 1) * each)
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
def chunks_of(x: Any, y: Any) -> Any:
    """How many chunks a product to y has."""
    each = rows_of_chunk(x.shape[1], len(x))
    return (y.shape[1] + each - 1) // each


@kernel
def dense(state: Any, part: int, matrix: Any, x: Any, y: Any) -> None:
    """y [T, n] = x [T, padded k] W^T + bias. One phase."""
    chunks = chunks_of(x, y)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        _rows(state, part, matrix, x, y, chunk, _PUT)
        chunk = take(state, part, chunks)


@kernel
def dense_add(state: Any, part: int, matrix: Any, x: Any, y: Any) -> None:
    """y [T, n] += x [T, padded k] W^T + bias. One phase."""
    chunks = chunks_of(x, y)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        _rows(state, part, matrix, x, y, chunk, _ADD)
        chunk = take(state, part, chunks)


@kernel
def dense_three(state: Any, part: int, a: Any, b: Any, c: Any, x: Any, ya: Any, yb: Any, yc: Any) -> None:
    """ya, yb, yc = the products of three matrices with the same x. One phase."""
    second = chunks_of(x, ya)
    third = second + chunks_of(x, yb)
    chunks = third + chunks_of(x, yc)
    chunk = take(state, part, chunks)
    while chunk >= 0:
        if chunk < second:
            _rows(state, part, a, x, ya, chunk, _PUT)
        elif chunk < third:
            _rows(state, part, b, x, yb, chunk - second, _PUT)
        else:
            _rows(state, part, c, x, yc, chunk - third, _PUT)
        chunk = take(state, part, chunks)
