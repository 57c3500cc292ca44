"""How the rows of a product are shared out: long portions first, for they are read fastest, and short ones at the end.

Long stretches are read from the memory faster. But where all portions are long, one thread works on the last of them
while the others wait. So a round of portions, one for each thread, has half of the
rows that are left, within bounds (guided self-scheduling: Polychronopoulos and Kuck, 1987).
"""

from typing import Any

from mlx_model.cpu.compiling import kernel

_PRODUCTS = 1 << 17
"""Products of weights and activations that are worth a ticket, about: 10 to 20 microseconds."""
_LONGEST = 16
"""How many times as long as the shortest portion the longest is. A thread that the system takes from its processor in
the middle of one delays the others the longer."""


@kernel
def shortest(columns: int, share: int, unit: int) -> int:
    """Rows of the shortest portion, a multiple of `unit`, where each of so many columns is multiplied `share` times."""
    return max(1, _PRODUCTS // (columns * share) // unit) * unit


@kernel
def _round(rows: int, threads: int, least: int, index: int) -> Any:
    """(number of the first portion, its first row, rows of each) of the round that portion number `index` is in."""
    number, first = 0, 0
    while True:
        each = min(max(1, (rows - first) // (2 * threads * least)), _LONGEST) * least
        if index < number + threads or first + threads * each >= rows:
            return number, first, each
        number += threads
        first += threads * each


@kernel
def portion(index: int, rows: int, threads: int, least: int) -> Any:
    """(first, end) of the rows of portion number `index`; all but the last have a multiple of `least`."""
    number, first, each = _round(rows, threads, least, index)
    first += (index - number) * each
    return first, min(first + each, rows)


@kernel
def portions(rows: int, threads: int, least: int) -> Any:
    """How many portions the rows have."""
    number, first, each = _round(rows, threads, least, rows)
    return number + (rows - first + each - 1) // each
