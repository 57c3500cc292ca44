"""How a model is computed on this computer's GPU or CPU: one object, chosen when the model is loaded."""

from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx
import numpy as np

from metal.weights import Matrix, Mixture
from mlx_model.transformer.experts import parallel_rows, sorted_rows


class Compute(Protocol):
    """Where dense matrices and experts are computed, and what follows from that."""

    @property
    def dtype(self) -> mx.Dtype:
        """Of activations, and of weights that are not quantised."""
        ...

    @property
    def differentiable(self) -> bool:
        """Whether gradients reach every weight that is not packed, and every input."""
        ...

    @property
    def steps_ahead(self) -> bool:
        """Whether a decode step is submitted before the last one's token is known."""
        ...

    @property
    def settle_chunk(self) -> int:
        """Most tokens of a step that is computed while the person reads: a request that comes waits for one."""
        ...

    @property
    def adopts_memory(self) -> bool:
        """Whether MLX takes the pages of a mapped file as they are."""
        ...

    def product(self, matrix: Matrix, x: mx.array) -> mx.array:
        """x [..., columns] times the matrix, plus its bias: [..., rows] in x's dtype."""
        ...

    def expert_rows(self, x: mx.array, experts: mx.array, mixture: Mixture) -> mx.array:
        """x [N, hidden] through its experts [N, top_k]: [N, top_k, hidden]."""
        ...

    def kv_dtype(self, bits: int) -> mx.Dtype | None:
        """Of a KV cache with so many bits a number; None for the dtype in which keys and values come."""
        ...


@dataclass(frozen=True, slots=True)
class GpuCompute:
    """Everything is MLX's, and lazy: the device is asked for the next step before it has finished this one.

    bfloat16, as gpt-oss was trained. `differentiable` keeps the decode kernels out, which have no gradient.
    """

    dtype: mx.Dtype = mx.bfloat16
    differentiable: bool = False
    steps_ahead: bool = True
    settle_chunk: int = 128
    adopts_memory: bool = True

    def product(self, matrix: Matrix, x: mx.array) -> mx.array:
        """See Compute."""
        return matrix(x)

    def expert_rows(self, x: mx.array, experts: mx.array, mixture: Mixture) -> mx.array:
        """See Compute."""
        return sorted_rows(x, experts, mixture)

    def kv_dtype(self, bits: int) -> mx.Dtype | None:
        """See Compute: keys and values are as narrow as activations."""
        return None


@dataclass(frozen=True, slots=True)
class CpuCompute:
    """Dense matrices go through numpy's BLAS, experts over several of MLX's streams.

    float32, since MLX's bfloat16 is 16 times slower on a CPU (measured). MLX's Linux wheel links the reference BLAS on
    one thread; numpy's brings OpenBLAS, which multiplied a vector by a 5760 x 2880 matrix nine times faster here (1.3
    against 11 ms) and 64 rows 47 times faster. Each product waits for its input, which costs the CPU path nothing.

    numpy leaves MLX's graph: **such a model has no gradient, and mx.grad gives zeros without an error**. With
    `differentiable` MLX multiplies.
    """

    dtype: mx.Dtype = mx.float32
    differentiable: bool = False
    steps_ahead: bool = False
    settle_chunk: int = 8
    adopts_memory: bool = False

    def product(self, matrix: Matrix, x: mx.array) -> mx.array:
        """See Compute."""
        if self.differentiable or matrix.packing is not None:
            return matrix(x)
        y = np.asarray(x) @ np.asarray(matrix.weight).T  # the arrays' own memory, not copied
        if matrix.bias is not None:
            y += np.asarray(matrix.bias)
        product = mx.array(y)
        return product if matrix.adapter is None else product + matrix.adapter(x)

    def expert_rows(self, x: mx.array, experts: mx.array, mixture: Mixture) -> mx.array:
        """See Compute."""
        return parallel_rows(x, experts, mixture)

    def kv_dtype(self, bits: int) -> mx.Dtype | None:
        """See Compute: half as wide as activations where the memory plan asks for it."""
        return mx.bfloat16 if bits == 16 else None


def compute_on(*, gpu: bool, differentiable: bool = False) -> Compute:
    """How to compute where MLX's default device is a GPU, or a CPU."""
    return GpuCompute(differentiable=differentiable) if gpu else CpuCompute(differentiable=differentiable)
