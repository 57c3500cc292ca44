"""Hidden states as the bytes that cross between computers: exact, bfloat16 or float32, little-endian."""

import math

import mlx.core as mx
import numpy as np

from mlx_model.distributed.frames import FrameError


def bytes_of(x: mx.array) -> memoryview:
    """The rows of x, once they are computed."""
    bits = np.array(x.view(mx.uint16) if x.dtype == mx.bfloat16 else x, copy=False)
    return np.ascontiguousarray(bits).data.cast("B")


def array_of(rows: bytes | memoryview, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
    """The array with these bytes. Raises FrameError where they are too many or too few."""
    is_narrow = dtype == mx.bfloat16
    if len(rows) != math.prod(shape) * (2 if is_narrow else 4):
        raise FrameError(f"{len(rows)} bytes are no rows {list(shape)} of {dtype}")
    bits = np.frombuffer(rows, np.uint16 if is_narrow else np.float32).reshape(shape)
    array = mx.array(bits)
    return array.view(mx.bfloat16) if is_narrow else array
