"""Memory of this process as an MLX array without a copy: Metal's rule for it, and the one call."""

import mmap

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
"""Bytes; 16 KiB on Apple Silicon."""


def adopt(pages: NDArray[np.uint8]) -> mx.array | None:
    """The bytes `pages` uint8 [n] as an array over the very same memory, which it keeps alive; None if refused.

    Metal's newBufferWithBytesNoCopy takes whole pages only: the address and `n` are multiples of PAGE. `mx.asarray`
    with `copy=False` ends there (MLX's python/src/convert.cpp) and raises where it can't: without Metal, above
    2^31 - 1 bytes, or when Metal gives no buffer.

    The array may be of memory that can't be written. MLX computes in place what it holds the last reference to, so
    its caller must hold this array for as long as anything made of it is still to be computed.
    """
    if pages.ctypes.data % PAGE or pages.nbytes % PAGE or not pages.nbytes:
        return None
    try:
        return mx.asarray(pages, copy=False)
    except (ValueError, RuntimeError, TypeError, BufferError):
        return None
