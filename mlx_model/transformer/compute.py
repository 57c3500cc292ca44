"""How a model is computed on this computer's GPU or CPU: one object, chosen when the model is loaded."""

from dataclasses import dataclass, replace
from typing import Protocol

import mlx.core as mx


class Compute(Protocol):
    """What computes a model, and what follows from that."""

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

    def kv_dtype(self, bits: int) -> mx.Dtype | None:
        """See Compute: keys and values are as narrow as activations."""
        return None


@dataclass(frozen=True, slots=True)
class CpuCompute:
    """The same by MLX's CPU backend: a model that is to be differentiated, or for which nothing was compiled.

    float32, since MLX's bfloat16 is 16 times slower on a CPU (measured).
    """

    dtype: mx.Dtype = mx.float32
    differentiable: bool = False
    steps_ahead: bool = False
    settle_chunk: int = 8
    adopts_memory: bool = False

    def kv_dtype(self, bits: int) -> mx.Dtype | None:
        """See Compute: half as wide as activations where the memory plan asks for it."""
        return mx.bfloat16 if bits == 16 else None


@dataclass(frozen=True, slots=True)
class CompiledCompute:
    """The compiled layers of mlx_model/cpu, which read weights where they lie in their files.

    They are no part of MLX's graph: such a model has no gradient.
    """

    dtype: mx.Dtype = mx.float32
    differentiable: bool = False
    steps_ahead: bool = False
    settle_chunk: int = 32
    adopts_memory: bool = False

    def kv_dtype(self, bits: int) -> mx.Dtype | None:
        """See CpuCompute."""
        return mx.bfloat16 if bits == 16 else None


def compute_on(*, gpu: bool, differentiable: bool = False, compiled: bool = False) -> Compute:
    """How to compute where MLX's default device is a GPU, or a CPU, for which layers were `compiled` or not."""
    if gpu:
        return GpuCompute(differentiable=differentiable)
    return CompiledCompute() if compiled and not differentiable else CpuCompute(differentiable=differentiable)


_SETTLE_STREAMED = 512
"""Tokens of a settling step where experts are read for each: four times as many take hardly longer."""


def streaming_compute(compute: Compute) -> Compute:
    """The same where experts are read when they are needed: Python knows each token's before the next layer, so that
    no step can be ahead, and a step's size hardly matters."""
    if isinstance(compute, GpuCompute):
        return replace(compute, steps_ahead=False, settle_chunk=_SETTLE_STREAMED)
    return compute
