"""Dense products: y = x W^T + bias, for one token row by row, for more in tiles."""

from typing import Any

import numpy as np

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.panels import GROUP, panel_sums, scratch
from mlx_model.cpu.kernels.products import ROWS_OF_PANEL, dot, total
from mlx_model.cpu.kernels.sharing import take

CHUNK = 1 << 17
"""Products of weights and activations that are worth a ticket, about: 10 to 20 microseconds."""


@kernel
def rows_of_chunk(columns: int, tokens: int) -> int:
    """How many rows a thread takes at once: whole panels."""
    rows = CHUNK // (columns * (1 if tokens == 1 else 1 + tokens // 4))
    return max(1, rows // ROWS_OF_PANEL) * ROWS_OF_PANEL


@kernel
def _rows(matrix: Any, x: Any, y: Any, first: int, end: int, add: bool) -> None:
    """Rows first .. end of the product, to y or added to it."""
    n, tokens = y.shape[1], len(x)
    bias = matrix.bias
    biased = len(bias) > 0
    if tokens == 1:
        for row in range(first, end):
            value = dot(matrix, row, x, 0)
            if biased:
                value += bias[row]
            y[0, row] = y[0, row] + value if add else value
        return
    panel, sums = scratch(tokens)
    lines = np.arange(tokens)
    for row in range(first, end, ROWS_OF_PANEL):
        for start in range(0, tokens, GROUP):
            stop = min(start + GROUP, tokens)
            panel_sums(matrix, row, n - 1, x, lines, start, stop, panel, sums)
            for t in range(stop - start):
                for r in range(min(ROWS_OF_PANEL, end - row)):
                    value = total(sums, t, r)
                    if biased:
                        value += bias[row + r]
                    y[start + t, row + r] = y[start + t, row + r] + value if add else value


@kernel
def _share(state: Any, part: int, matrix: Any, x: Any, y: Any, add: bool) -> None:
    n = y.shape[1]
    each = rows_of_chunk(x.shape[1], len(x))
    chunks = (n + each - 1) // each
    chunk = take(state, part, chunks)
    while chunk >= 0:
        _rows(matrix, x, y, chunk * each, min(n, (chunk + 1) * each), add)
        chunk = take(state, part, chunks)


@kernel
def dense(state: Any, part: int, matrix: Any, x: Any, y: Any) -> None:
    """y [T, n] = x [T, padded k] W^T + bias. One phase."""
    _share(state, part, matrix, x, y, False)


@kernel
def dense_add(state: Any, part: int, matrix: Any, x: Any, y: Any) -> None:
    """y [T, n] += x [T, padded k] W^T + bias. One phase."""
    _share(state, part, matrix, x, y, True)


@kernel
def dense_three(state: Any, part: int, a: Any, b: Any, c: Any, x: Any, ya: Any, yb: Any, yc: Any) -> None:
    """ya, yb, yc = the products of three matrices with the same x. One phase."""
    each = rows_of_chunk(x.shape[1], len(x))
    first = (ya.shape[1] + each - 1) // each
    second = first + (yb.shape[1] + each - 1) // each
    chunks = second + (yc.shape[1] + each - 1) // each
    chunk = take(state, part, chunks)
    while chunk >= 0:
        if chunk < first:
            _rows(a, x, ya, chunk * each, min(ya.shape[1], (chunk + 1) * each), False)
        elif chunk < second:
            at = (chunk - first) * each
            _rows(b, x, yb, at, min(yb.shape[1], at + each), False)
        else:
            at = (chunk - second) * each
            _rows(c, x, yc, at, min(yc.shape[1], at + each), False)
        chunk = take(state, part, chunks)
