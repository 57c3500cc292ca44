"""Random weights of attention projections and output matrices, in every format, and activations for them."""

from dataclasses import replace

import mlx.core as mx
import numpy as np

from metal.dense import Head, Projections
from metal.weights import QUANT_GROUP, Matrix
from metal.operation import Variant

FORMATS: tuple[mx.Dtype | int, ...] = (mx.bfloat16, mx.float16, mx.float32, 8, 6, 4)
"""How matrices are held: stored as this dtype, or quantised from bfloat16 to so many bits."""

EPS = 1e-5


def geometry(rows: int, simdgroups: int = 2) -> Variant:
    """A variant of the dense kernels."""
    return (("ROWS", rows), ("SIMDGROUPS", simdgroups))


class Random:
    """Arrays from a seeded generator."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)

    def normal(self, *shape: int, dtype: mx.Dtype = mx.float32, scale: float = 1) -> mx.array:
        return mx.array(self.generator.standard_normal(shape, np.float32) * np.float32(scale)).astype(dtype)

    def matrix(self, rows: int, columns: int, form: mx.Dtype | int, *, bias: bool = True) -> Matrix:
        dtype = mx.bfloat16 if isinstance(form, int) else form
        weight = self.normal(rows, columns, dtype=dtype, scale=columns**-0.5)
        added = self.normal(rows, dtype=dtype) if bias else None
        if not isinstance(form, int):
            return Matrix(weight, added)
        codes, scales, offsets = mx.quantize(weight, group_size=QUANT_GROUP, bits=form)
        return Matrix(codes, added, scales, offsets, form)

    def projections(self, hidden: int, heads: int, kv_heads: int, form: mx.Dtype | int) -> Projections:
        return Projections(
            norm=self.normal(hidden, dtype=mx.bfloat16) + 1,
            eps=EPS,
            query=self.matrix(64 * heads, hidden, form),
            key=self.matrix(64 * kv_heads, hidden, form),
            value=self.matrix(64 * kv_heads, hidden, form),
            output=self.matrix(hidden, 64 * heads, form),
        )

    def head(self, hidden: int, vocabulary: int, form: mx.Dtype | int) -> Head:
        return Head(self.normal(hidden, dtype=mx.bfloat16) + 1, EPS, self.matrix(vocabulary, hidden, form, bias=False))

    def angles(self, tokens: int) -> tuple[mx.array, mx.array]:
        turned = self.generator.uniform(0, 2 * np.pi, (tokens, 32)).astype(np.float32)
        return mx.array(np.cos(turned)), mx.array(np.sin(turned))


def aligned(layer: Projections, alignment: int) -> Projections:
    """The same weights, said to lie at multiples of `alignment` bytes."""
    matrices = {
        name: replace(getattr(layer, name), alignment=alignment) for name in ("query", "key", "value", "output")
    }
    return replace(layer, **matrices)
