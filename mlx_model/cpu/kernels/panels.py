"""The sums of a few rows of a matrix with many tokens, tile by tile."""

from typing import Any

import numpy as np

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.products import (
    COLUMNS,
    ROWS_OF_PANEL,
    TOKENS,
    tile_one,
    tile_three,
    tile_two,
    widen,
)
from mlx_model.cpu.kernels.sharing import SCRATCH
from mlx_model.cpu.kernels.vectors import LANES

GROUP = 48
"""Most tokens for which a panel is made once: their sums, 24 KiB, stay in the second-level cache."""
_PANEL, _SUMS = 16, 16 + ROWS_OF_PANEL * COLUMNS // 2
_END = _SUMS + GROUP * ROWS_OF_PANEL * LANES // 2
assert _END <= 16 + SCRATCH


@kernel
def aligned(lines: int, length: int) -> Any:
    """An uninitialised float32 array [lines, length] that begins with a cache line.

    Where a vector of 64 bytes lies across two lines, reading it costs as much as reading two.
    """
    spare = np.empty(lines * length + LANES, np.float32)
    first = -(spare.ctypes.data // 4) % LANES
    return spare[first : first + lines * length].reshape((lines, length))


@kernel
def panel_sums(
    state: Any, part: int, matrix: Any, row: int, last: int, x: Any, lines: Any, first: int, end: int
) -> Any:
    """sums [end - first, ROWS_OF_PANEL, 16], flat, in the thread's own memory: rows row .. of the matrix, none after
    `last`, times x[lines[first]] .. x[lines[end - 1]], at most GROUP of them. A product is the sum of its sixteen."""
    panel = state[1 + part, _PANEL:_SUMS].view(np.float32)
    sums = state[1 + part, _SUMS:_END].view(np.float32)
    tokens, length = end - first, x.shape[1]
    sums[: tokens * ROWS_OF_PANEL * LANES] = 0
    for start in range(0, length, COLUMNS):
        columns = min(COLUMNS, length - start)
        for r in range(ROWS_OF_PANEL):
            widen(matrix, min(row + r, last), start, columns, panel, r * COLUMNS)
        threes = tokens // TOKENS * TOKENS
        for t in range(0, threes, TOKENS):
            at = first + t
            tile_three(panel, x, start, columns, sums, t, lines[at], lines[at + 1], lines[at + 2])
        if tokens - threes == 2:
            tile_two(panel, x, start, columns, sums, threes, lines[end - 2], lines[end - 1])
        elif tokens - threes == 1:
            tile_one(panel, x, start, columns, sums, threes, lines[end - 1])
    return sums
