"""Dense matrices in the formats they are held in: as stored, quantised, or float32 through BLAS on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
import numpy as np

from mlx_model.memory import device
from mlx_model.transformer.config import QUANT_GROUP


@dataclass(frozen=True, slots=True)
class Packing:
    """How MLX packs a quantised matrix: mode ("affine" or "mxfp4"), bits a weight, weights that share a scale."""

    mode: str
    bits: int
    group_size: int


class Linear(Protocol):
    """y = x W^T + b. `nbytes` is what it keeps in memory."""

    nbytes: int

    def __call__(self, x: mx.array) -> mx.array:
        """x [..., in] to [..., out], in x's dtype."""


class StoredLinear:
    """The matrix in its stored dtype, multiplied by MLX."""

    def __init__(self, weight: mx.array, bias: mx.array | None) -> None:
        self.weight = weight
        self.bias = bias
        self.nbytes = weight.nbytes + (bias.nbytes if bias is not None else 0)

    def __call__(self, x: mx.array) -> mx.array:
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias


class QuantizedLinear:
    """The matrix as MLX packs it: `packed` is codes and scales and, where affine, offsets of the groups."""

    def __init__(self, packed: Sequence[mx.array], bias: mx.array | None, packing: Packing) -> None:
        self.packed = tuple(packed)
        self.packing = packing
        self.bias = bias
        mx.eval(self.packed, bias)
        self.nbytes = sum(array.nbytes for array in self.packed) + (bias.nbytes if bias is not None else 0)

    def __call__(self, x: mx.array) -> mx.array:
        codes, scales, *offsets = self.packed
        y = mx.quantized_matmul(
            x,
            codes,
            scales,
            offsets[0] if offsets else None,
            group_size=self.packing.group_size,
            bits=self.packing.bits,
            mode=self.packing.mode,
        )
        return y if self.bias is None else y + self.bias


class BlasLinear:
    """The matrix in float32, multiplied by numpy's BLAS.

    MLX's Linux wheel links the reference BLAS on one thread; numpy's brings OpenBLAS, which multiplied a vector by a
    5760 x 2880 matrix nine times faster here (1.3 against 11 ms) and 64 rows 47 times faster. The arrays are shared,
    not copied; the price is that each call waits for its input, which costs the CPU path nothing.
    """

    def __init__(self, weight: mx.array, bias: mx.array | None) -> None:
        self._weight = np.asarray(weight)
        self._bias = None if bias is None else np.asarray(bias)
        self.nbytes = self._weight.nbytes + (self._bias.nbytes if self._bias is not None else 0)

    def __call__(self, x: mx.array) -> mx.array:
        y = np.asarray(x) @ self._weight.T
        if self._bias is not None:
            y += self._bias
        return mx.array(y)


def make_linear(weight: mx.array, bias: mx.array | None = None, bits: int | None = None) -> Linear:
    """The matrix [out, in] in the format that suits the device; `bits` asks for affine quantisation."""
    if bits is not None:
        packed = mx.quantize(weight, group_size=QUANT_GROUP, bits=bits)
        return QuantizedLinear(packed, bias, Packing("affine", bits, QUANT_GROUP))
    if device.on_gpu():
        return StoredLinear(weight, bias)
    return BlasLinear(weight, bias)
