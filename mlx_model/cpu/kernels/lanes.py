"""How activations meet packed weights: field by field of sixteen words, or as digits (digits.py).

With `fields` f, element f * i + j of each stretch of 16 f becomes element 16 j + i: all that meets field j of sixteen
words is one vector. A row is filled up with zeros to whole stretches, so that what a chunk holds past its row's end
counts for nothing. f = 1 leaves the order as it is.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels import vectors as v
from mlx_model.cpu.kernels.digits import BLOCK, STRETCH, put_digits
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


@v.emitted
def put_block(typingctx: Any, values: Any, at: Any, line: Any, first: Any) -> Any:
    """Elements first .. first + 31 of a line, from values[at ..] of a flat array of float32.

    The line has 8 fields, or is of int8 and has digits. `first` is a multiple of 32.
    """

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        numbers = v.array_at(context, builder, sig.args[0], args[0]).load(args[1], BLOCK)
        out, size = v.array_at(context, builder, sig.args[2], args[2]), args[3].type
        stretch, block = builder.udiv(args[3], size(128)), builder.urem(builder.udiv(args[3], size(BLOCK)), size(4))
        if sig.args[2].dtype == types.int8:
            put_digits(builder, numbers, out.after(builder.mul(stretch, size(STRETCH))), block)
        else:
            start = builder.add(builder.mul(stretch, size(128)), builder.mul(block, size(4)))
            for field in range(8):
                out.store(v.shuffle(builder, numbers, range(field, BLOCK, 8)), builder.add(start, size(LANES * field)))
        return context.get_dummy_value()

    return types.void(values, types.int64, line, types.int64), codegen


@kernel
def arrange(row: Any, fields: int, out: Any) -> None:
    """row [k] to a line of these fields, or of digits; what fills it up is not written."""
    if fields == 8:
        for first in range(0, len(row), BLOCK):
            put_block(row, first, out, first)
    elif fields == 1:
        for j in range(len(row)):
            out[j] = row[j]
    else:
        for j in range(len(row)):
            out[place(j, fields)] = row[j]


@kernel
def as_floats(lines: Any) -> Any:
    """Lines for the experts of a few tokens: float32, as for those of many."""
    return lines


@kernel
def as_digits(lines: Any) -> Any:
    """The same memory for digits."""
    return lines.view(np.int8)


for_few = as_digits if v.BYTE_PRODUCTS else as_floats
"""Lines of activations for the experts of a few tokens, as this processor multiplies them."""
