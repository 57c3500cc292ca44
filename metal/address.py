"""Where an array begins in memory: loads of 16 bytes want an address that is a multiple of 16."""

import mlx.core as mx
import numpy as np

WIDEST_LOAD = 16
"""Bytes that a kernel loads at once at most."""


def alignment_of(array: mx.array) -> int:
    """The largest of 16, 8, 4, 2, 1 that divides the address of an array, which is computed if need be.

    Memory that MLX allocates begins at multiples of 16; a tensor in a mapped file begins where the file has it.
    """
    flat = array.reshape(-1).view(mx.uint8)  # NumPy has no bfloat16; the same memory
    address = int(np.asarray(flat).ctypes.data)
    return min(WIDEST_LOAD, address & -address)
