"""The weights of a transformer as MLX's operations and the kernels multiply by them: the same arrays for both."""

import math
from dataclasses import dataclass
from functools import lru_cache

import mlx.core as mx
import numpy as np

from metal.formats import MXFP4, QUANT_GROUP, Packing


@dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank term beside a matrix, as LoRA trains it: y + scale * (x A^T) B^T.

    `a` [rank, columns] and `b` [rows, rank]; beside an expert matrix [E, rank, in] and [E, out, rank].
    """

    a: mx.array
    b: mx.array
    scale: float

    def __call__(self, x: mx.array) -> mx.array:
        """The term for x [..., columns], [..., rows] in x's dtype."""
        return (self.scale * (x @ self.a.T) @ self.b.T).astype(x.dtype)

    def of_experts(self, x: mx.array, experts: mx.array, *, is_sorted: bool) -> mx.array:
        """The same for rows x [..., 1, in] through the experts [...]: [..., 1, out] in x's dtype."""
        low = mx.gather_mm(x, self.a.swapaxes(1, 2), rhs_indices=experts, sorted_indices=is_sorted)
        high = mx.gather_mm(self.scale * low, self.b.swapaxes(1, 2), rhs_indices=experts, sorted_indices=is_sorted)
        return high.astype(x.dtype)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A dense matrix [rows, columns] and its bias [rows]: floats, or packed as `packing` says.

    As floats, `weight` is [rows, columns]. Packed, it is uint32 [rows, columns * bits / 32], and `scales` are
    [rows, columns / group_size]: floats with `offsets` of the same shape where affine, uint8 (E8M0) where MXFP4.
    `alignment` is what the addresses of `weight`, and of a norm's weight used with it, are a multiple of, in bytes: 16
    where MLX allocated them, 8 or 4 in a mapped file.
    """

    weight: mx.array
    bias: mx.array | None = None
    scales: mx.array | None = None
    offsets: mx.array | None = None
    packing: Packing | None = None
    alignment: int = 16
    adapter: Adapter | None = None

    @property
    def rows(self) -> int:
        """Outputs."""
        return self.weight.shape[0]

    @property
    def columns(self) -> int:
        """Inputs."""
        return self.weight.shape[1] if self.packing is None else self.weight.shape[1] * 32 // self.packing.bits

    @property
    def nbytes(self) -> int:
        """Bytes of the matrix and its bias."""
        arrays = (self.weight, self.bias, self.scales, self.offsets)
        return sum(array.nbytes for array in arrays if array is not None)

    def __call__(self, x: mx.array) -> mx.array:
        """x [..., columns] times the matrix, plus the bias: [..., rows] in x's dtype, by MLX's operations."""
        if self.packing is None or self.scales is None:
            y = x @ self.weight.T if self.bias is None else mx.addmm(self.bias, x, self.weight.T)
        else:
            mode, bits, group = self.packing.mode, self.packing.bits, self.packing.group_size
            y = mx.quantized_matmul(x, self.weight, self.scales, self.offsets, group_size=group, bits=bits, mode=mode)
            y = y if self.bias is None else y + self.bias
        return y if self.adapter is None else y + self.adapter(x)


def quantised(weight: mx.array, bias: mx.array | None, bits: int) -> Matrix:
    """The float matrix [rows, columns] packed by `mx.quantize` to `bits` bits, computed."""
    codes, scales, offsets = mx.quantize(weight, group_size=QUANT_GROUP, bits=bits)
    mx.eval(codes, scales, offsets)
    return Matrix(codes, bias, scales, offsets, Packing("affine", bits, QUANT_GROUP))


@dataclass(frozen=True, slots=True)
class Projections:
    """The matrices of one layer's attention, each with its bias, and the RMSNorm before them.

    `norm` [hidden]; `query` [heads * head_dim, hidden]; `key` and `value` [KV heads * head_dim, hidden]; `output`
    [hidden, heads * head_dim].
    """

    norm: mx.array
    eps: float
    query: Matrix
    key: Matrix
    value: Matrix
    output: Matrix


@dataclass(frozen=True, slots=True)
class Head:
    """The RMSNorm `norm` [hidden] before the output matrix, and that matrix [vocabulary, hidden], which has no bias."""

    norm: mx.array
    eps: float
    matrix: Matrix


@dataclass(frozen=True, slots=True)
class ExpertMatrix:
    """One matrix of every expert in MXFP4.

    `blocks` uint32 [E, out, in/8] is the Hub's `_blocks` seen as little-endian words, low nibble first, which is MLX's
    mxfp4 packing. `scales` uint8 [E, out, in/32] hold 2^(byte - 127). `bias` [E, out]. `alignment` in bytes is that of
    the first block's address, 16 in MLX's own memory and 4, 8 or 16 in a mapped file.
    """

    blocks: mx.array
    scales: mx.array
    bias: mx.array
    alignment: int = 16
    adapter: Adapter | None = None

    def __call__(self, x: mx.array, experts: mx.array, *, is_sorted: bool = False) -> mx.array:
        """Rows x [..., 1, in], each through the expert of its place in `experts` [...], to [..., 1, out] in x's dtype.

        Leading dimensions are broadcast: one row may go through several experts. By MLX's operations.
        """
        y = mx.gather_qmm(
            x,
            self.blocks,
            self.scales,
            # Whoever names the rows gets no product of sorted ones (MLX's ops.cpp, gather_qmm).
            lhs_indices=None if is_sorted else _numbered(x.shape[:-2]),
            rhs_indices=experts,
            group_size=MXFP4.group_size,
            bits=MXFP4.bits,
            mode=MXFP4.mode,
            sorted_indices=is_sorted,
        )
        y = y + self.bias[experts][..., None, :].astype(x.dtype)
        return y if self.adapter is None else y + self.adapter.of_experts(x, experts, is_sorted=is_sorted)


@lru_cache(maxsize=4)
def _numbered(shape: tuple[int, ...]) -> mx.array:
    """The rows of such a shape in their order, uint32; MLX would make it anew at each product."""
    return mx.array(np.arange(math.prod(shape), dtype=np.uint32).reshape(shape))


@dataclass(frozen=True, slots=True)
class Mixture:
    """The weights of one layer's mixture of experts.

    `norm` [hidden] is the gain of the RMSNorm before it. `router` [E, hidden] and `router_bias` [E] score the experts;
    each row takes the best `top_k`. `gate_up` is [E, 2 intermediate, hidden] with gate and up rows in turn, `down`
    [E, hidden, intermediate]. `limit` clamps the SwiGLU. Everything but blocks and scales may be bfloat16, float16 or
    float32. `alignment` in bytes is that of norm and router.
    """

    norm: mx.array
    eps: float
    router: mx.array
    router_bias: mx.array
    gate_up: ExpertMatrix
    down: ExpertMatrix
    top_k: int
    limit: float
    alignment: int = 16

    @property
    def experts(self) -> int:
        """How many there are."""
        return self.router.shape[0]

    @property
    def held(self) -> int:
        """How many the matrices have: fewer where the others are on the disk."""
        return self.gate_up.blocks.shape[0]
