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
from mlx_model.cpu.kernels.vectors import LANES

GROUP = 48
"""Most tokens for which a panel is made once: their sums, 24 KiB, stay in the second-level cache."""


@kernel
def aligned(lines: int, length: int) -> Any:
    """An uninitialised float32 array [lines, length] that begins with a cache line.

    Where a vector of 64 bytes lies across two lines, reading it costs as much as reading two.
    """
    spare = np.empty(lines * length + LANES, np.float32)
    first = -(spare.ctypes.data // 4) % LANES
    return spare[first : first + lines * length].reshape((lines, length))


@kernel
def scratch(tokens: int) -> Any:
    """(panel, sums): what `panel_sums` needs for so many tokens."""
    return (
        aligned(ROWS_OF_PANEL, COLUMNS),
        aligned(min(tokens, GROUP), ROWS_OF_PANEL * LANES).reshape((min(tokens, GROUP), ROWS_OF_PANEL, LANES)),
    )


@kernel
def panel_sums(
    matrix: Any, row: int, last: int, x: Any, lines: Any, first: int, end: int, panel: Any, sums: Any
) -> None:
    """sums[t] [ROWS_OF_PANEL, 16] = rows row .. of the matrix, none after `last`, times x[lines[first + t]], for
    first + t < end; at most GROUP of them. A row's sum is that of its sixteen numbers."""
    tokens, length = end - first, x.shape[1]
    sums[:tokens] = 0
    for start in range(0, length, COLUMNS):
        columns = min(COLUMNS, length - start)
        for r in range(ROWS_OF_PANEL):
            widen(matrix, min(row + r, last), start, columns, panel, r)
        threes = tokens // TOKENS * TOKENS
        for t in range(0, threes, TOKENS):
            at = first + t
            tile_three(panel, x, start, columns, sums, t, lines[at], lines[at + 1], lines[at + 2])
        if tokens - threes == 2:
            tile_two(panel, x, start, columns, sums, threes, lines[end - 2], lines[end - 1])
        elif tokens - threes == 1:
            tile_one(panel, x, start, columns, sums, threes, lines[end - 1])
