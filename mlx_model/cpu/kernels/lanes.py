"""The order in which activations meet packed weights: field by field of sixteen words.

With `fields` f, element f * i + j of each stretch of 16 f becomes element 16 j + i: all that meets field j of sixteen
words is one vector. A row is filled up with zeros to whole stretches, so that what a chunk holds past its row's end
counts for nothing. f = 1 leaves the order as it is.
"""

from typing import Any

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.vectors import LANES


@kernel
def padded(k: int, fields: int) -> int:
    """The length of a row of k in lane order."""
    stretch = LANES * fields
    return (k + stretch - 1) // stretch * stretch


@kernel
def place(j: int, fields: int) -> int:
    """Where element j lies."""
    stretch = LANES * fields
    rest = j % stretch
    return j - rest + rest % fields * LANES + rest // fields


@kernel
def arrange(row: Any, fields: int, out: Any) -> None:
    """row [k] in lane order to out [padded(k, fields)]."""
    if fields == 1:
        for j in range(len(row)):
            out[j] = row[j]
    else:
        for j in range(len(row)):
            out[place(j, fields)] = row[j]
    for j in range(len(row), len(out)):
        out[place(j, fields)] = 0
