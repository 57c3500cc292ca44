"""A dense matrix in one of the formats that kernels and MLX multiply by, in the same arrays."""

from dataclasses import dataclass

import mlx.core as mx

QUANT_GROUP = 64
"""Inputs that share one affine scale and offset."""

QUANT_BITS = (8, 6, 4)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix [rows, columns] and its bias [rows], as stored or in the affine quantisation of `mx.quantize`.

    As stored (`bits` is None), `weight` is float [rows, columns]. Quantised to `bits` bits in groups of QUANT_GROUP,
    it is uint32 [rows, columns * bits / 32], and `scales` and `offsets` are float [rows, columns / QUANT_GROUP].
    `alignment` is what the addresses of `weight`, and of a norm's weight used with it, are a multiple of, in bytes: 16
    where MLX allocated them, 8 or 4 in a mapped file.
    """

    weight: mx.array
    bias: mx.array | None = None
    scales: mx.array | None = None
    offsets: mx.array | None = None
    bits: int | None = None
    alignment: int = 16

    @property
    def rows(self) -> int:
        """Outputs."""
        return self.weight.shape[0]

    @property
    def columns(self) -> int:
        """Inputs."""
        return self.weight.shape[1] * 32 // self.bits if self.bits else self.weight.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes kept in memory."""
        arrays = (self.weight, self.bias, self.scales, self.offsets)
        return sum(array.nbytes for array in arrays if array is not None)

    def __call__(self, x: mx.array) -> mx.array:
        """x [..., columns] times the matrix, plus the bias: [..., rows], by MLX's operations."""
        if self.scales is None or self.offsets is None:
            y = x @ self.weight.T
        else:
            y = mx.quantized_matmul(
                x, self.weight, self.scales, self.offsets, transpose=True, group_size=QUANT_GROUP, bits=self.bits
            )
        return y if self.bias is None else y + self.bias
