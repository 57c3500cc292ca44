"""Weights and sizes of a model for its launches alone: zeros that are never computed, and so take no memory."""

from dataclasses import dataclass

import mlx.core as mx

from metal.formats import HEAD_DIM, MXFP4_BLOCK, QUANT_GROUP, Packing
from metal.weights import ExpertMatrix, Head, Matrix, Mixture, Projections

EPS = 1e-5
LIMIT = 7.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """gpt-oss-20b's, unless others are given."""

    hidden: int = 2880
    heads: int = 64
    kv_heads: int = 8
    vocabulary: int = 201088
    intermediate: int = 2880
    experts: int = 32
    top_k: int = 4


@dataclass(frozen=True, slots=True)
class ScaledSizes(Sizes):
    """With `lengths` of the cache, and `scale` times the rows in its matrices, which then multiply no model's vectors.

    A GPU with many more cores than an Apple one is then as full as that.
    """

    lengths: tuple[int, ...] = (128, 4096, 16384)
    scale: int = 1


def matrix(rows: int, columns: int, dtype: mx.Dtype, alignment: int, bits: int, bias: mx.array | None = None) -> Matrix:
    """`bits` 0 is a matrix as stored. All is in one dtype, as the loader brings it."""
    if not bits:
        return Matrix(mx.zeros((rows, columns), dtype), bias, alignment=alignment)
    codes = mx.zeros((rows, columns * bits // 32), mx.uint32)
    scales, offsets = (mx.zeros((rows, columns // QUANT_GROUP), dtype) for _ in range(2))
    return Matrix(codes, bias, scales, offsets, Packing("affine", bits, QUANT_GROUP), alignment)


def biased(rows: int, columns: int, dtype: mx.Dtype, alignment: int, bits: int) -> Matrix:
    """The same with a bias."""
    return matrix(rows, columns, dtype, alignment, bits, mx.zeros((rows,), dtype))


def projections(sizes: Sizes, dtype: mx.Dtype, alignment: int, bits: int) -> Projections:
    """Of one layer."""
    queries, keys = sizes.heads * HEAD_DIM, sizes.kv_heads * HEAD_DIM
    return Projections(
        norm=mx.zeros((sizes.hidden,), dtype),
        eps=EPS,
        query=biased(queries, sizes.hidden, dtype, alignment, bits),
        key=biased(keys, sizes.hidden, dtype, alignment, bits),
        value=biased(keys, sizes.hidden, dtype, alignment, bits),
        output=biased(sizes.hidden, queries, dtype, alignment, bits),
    )


def head(sizes: Sizes, dtype: mx.Dtype, alignment: int, bits: int) -> Head:
    """The output matrix."""
    return Head(mx.zeros((sizes.hidden,), dtype), EPS, matrix(sizes.vocabulary, sizes.hidden, dtype, alignment, bits))


def expert_matrix(experts: int, rows: int, columns: int, dtype: mx.Dtype, alignment: int) -> ExpertMatrix:
    """In MXFP4."""
    blocks = mx.zeros((experts, rows, columns // 8), mx.uint32)
    scales = mx.zeros((experts, rows, columns // MXFP4_BLOCK), mx.uint8)
    return ExpertMatrix(blocks, scales, mx.zeros((experts, rows), dtype), alignment)


def mixture(sizes: Sizes, dtype: mx.Dtype, alignment: int) -> Mixture:
    """Of one layer."""
    hidden, inner = sizes.hidden, sizes.intermediate
    return Mixture(
        norm=mx.zeros((hidden,), dtype),
        eps=EPS,
        router=mx.zeros((sizes.experts, hidden), dtype),
        router_bias=mx.zeros((sizes.experts,), dtype),
        gate_up=expert_matrix(sizes.experts, 2 * inner, hidden, dtype, alignment),
        down=expert_matrix(sizes.experts, hidden, inner, dtype, alignment),
        top_k=sizes.top_k,
        limit=LIMIT,
        alignment=alignment,
    )
