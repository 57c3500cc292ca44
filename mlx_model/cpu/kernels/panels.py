"""The sums of a row of a matrix with a few tokens, and of a few rows with many tokens, tile by tile."""

from typing import Any

import numpy as np

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.products import (
    CHAINS,
    COLUMNS,
    ROWS_OF_PANEL,
    TOKENS,
    dot,
    dot_two,
    tile_one,
    tile_three,
    tile_two,
    widen,
)
from mlx_model.cpu.kernels.sharing import SCRATCH
from mlx_model.cpu.kernels.vectors import LANES

GROUP = 48
"""Most tokens for which a panel is made once: their sums, 48 KiB, stay in the second-level cache."""
_PANEL, _SUMS = 16, 16 + ROWS_OF_PANEL * COLUMNS // 2
_END = _SUMS + CHAINS * GROUP * ROWS_OF_PANEL * LANES // 2
assert _END <= 16 + SCRATCH

FEW = 16
"""Most tokens whose experts have the bits that they have for one alone."""
BAND = 64
"""Most rows of few_sums."""


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
    """sums [CHAINS, end - first, ROWS_OF_PANEL, 16], flat, in the thread's own memory: rows row .. of the matrix, none
    after `last`, times x[lines[first]] .. x[lines[end - 1]], at most GROUP of them. `total` has their products."""
    panel = state[1 + part, _PANEL:_SUMS].view(np.float32)
    sums = state[1 + part, _SUMS:_END].view(np.float32)
    tokens, length = end - first, x.shape[1]
    for at in range(CHAINS * tokens * ROWS_OF_PANEL * LANES):
        sums[at] = 0
    for start in range(0, length, COLUMNS):
        columns = min(COLUMNS, length - start)
        for r in range(ROWS_OF_PANEL):
            widen(matrix, min(row + r, last), start, columns, panel, r * COLUMNS)
        threes, chain = tokens // TOKENS * TOKENS, start // COLUMNS % CHAINS * tokens
        for t in range(0, threes, TOKENS):
            at = first + t
            tile_three(panel, x, start, columns, sums, chain + t, lines[at], lines[at + 1], lines[at + 2])
        if tokens - threes == 2:
            tile_two(panel, x, start, columns, sums, chain + threes, lines[end - 2], lines[end - 1])
        elif tokens - threes == 1:
            tile_one(panel, x, start, columns, sums, chain + threes, lines[end - 1])
    return sums


@kernel
def few_sums(state: Any, part: int, matrix: Any, row: int, rows: int, x: Any, lines: Any, first: int, end: int) -> Any:
    """sums [rows, FEW] in the thread's own memory: so many rows of the matrix from `row` on, at most BAND, times
    x[lines[first]] .. x[lines[end - 1]], at most FEW of them.

    Rows are decoded for two at a time: with those of more the first-level cache is too small, and reading rows again
    from the second level costs less.
    """
    sums = state[1 + part, _PANEL : _PANEL + BAND * FEW // 2].view(np.float32).reshape((BAND, FEW))
    for at in range(first, end - 1, 2):
        slot = at - first
        for r in range(rows):
            sums[r, slot], sums[r, slot + 1] = dot_two(matrix, row + r, x, lines[at], lines[at + 1])
    if (end - first) % 2 == 1:
        for r in range(rows):
            sums[r, end - 1 - first] = dot(matrix, row + r, x, lines[end - 1])
    return sums
