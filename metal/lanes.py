"""Lane order: the layout in which the MXFP4 kernels read their activations, and the way into it and back."""

from dataclasses import dataclass
from functools import cache

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.formats import MXFP4_BLOCK

_LANES = 32
"""Of a simdgroup; a lane takes one block a pass."""

_IN_WORD = np.array([0, 2, 4, 6, 1, 3, 5, 7])
"""Where the eight values of a word stand: the kernels decode weights 0 4 1 5 2 6 3 7."""


@dataclass(frozen=True, slots=True)
class Activations:
    """Vectors [..., n] of a model computing in `dtype`, in the layout their producer left them in.

    A kernel leaves half values (float32 if `dtype` is) in lane order, MLX's operations leave `dtype` in natural order.
    Asking for the other layout rearranges them, by one launch of MLX's: that happens only where one of two neighbours
    runs by a kernel and the other does not.
    """

    values: mx.array
    dtype: mx.Dtype
    in_lanes: bool

    @staticmethod
    def of(values: mx.array) -> "Activations":
        """Vectors in natural order."""
        return Activations(values, values.dtype, in_lanes=False)

    def natural(self) -> mx.array:
        """[..., n] in `dtype`, in natural order."""
        if not self.in_lanes:
            return self.values
        return self.values[..., _permutations(self.values.shape[-1])[0]].astype(self.dtype)

    def lanes(self) -> mx.array:
        """[..., n] in `lane_dtype(dtype)`, in lane order."""
        if self.in_lanes:
            return self.values
        return self.values.astype(lane_dtype(self.dtype))[..., _permutations(self.values.shape[-1])[1]]


def lane_dtype(dtype: mx.Dtype) -> mx.Dtype:
    """What kernels exchange in a model that computes in `dtype`.

    Half for 16-bit models: a GPU multiplies it as it is, and bfloat16 from 2^-17 up to half's largest number is exact
    in it (metal.experts.why_not sees to the upper end).
    """
    return mx.float32 if dtype == mx.float32 else mx.float16


def lane_order(size: int) -> NDArray[np.int64]:
    """The places in lane order of values 0 .. size - 1, whole blocks: `lane_order` of metal/kernels/lanes.h."""
    k = np.arange(size)
    block, word = k // MXFP4_BLOCK, k // 8 % 4
    full_pass = block // _LANES
    width = np.minimum(_LANES, size // MXFP4_BLOCK - _LANES * full_pass)
    places: NDArray[np.int64] = (128 * full_pass + word * width + block % _LANES) * 8 + _IN_WORD[k % 8]
    return places


@cache
def _permutations(size: int) -> tuple[mx.array, mx.array]:
    """Indices that take lane order to natural order, and back."""
    places = lane_order(size)
    return mx.array(places.astype(np.uint32)), mx.array(np.argsort(places).astype(np.uint32))
