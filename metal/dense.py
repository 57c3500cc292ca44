"""The dense products of a decode step: queries, keys and values; the attention's output; logits.

Each function computes by its kernel if given a variant of it, else by MLX's own operations on the same arrays, which
define it. Kernels keep sums and what lies between (the normed x, products before bias and RoPE) in float32 and round
once, when a result is written; MLX rounds each of these to x's dtype.
"""

from dataclasses import dataclass

import mlx.core as mx

from metal.launch import Call, Kernel, Parameters, launch, scalar
from metal.operation import Variant
from metal.weights import QUANT_BITS, QUANT_GROUP, Matrix

MAX_TOKENS = 4
"""Rows of x a kernel takes at once; more are MLX's business, whose matrix products then read each weight once too."""

HEAD_DIM = 64

_LANES = 32
"""Sizes are multiples of this, so that rows divide by those a threadgroup takes, and columns by what a lane takes."""

_MOST_WEIGHTS = 2**32

_HEADERS = ("common", "dense")

_QKV = Kernel.load(
    "qkv",
    (
        *("x", "norm", "eps", "cosines", "sines"),
        *("query_weight", "query_scales", "query_offsets", "query_bias"),
        *("key_weight", "key_scales", "key_offsets", "key_bias"),
        *("value_weight", "value_scales", "value_offsets", "value_bias"),
    ),
    ("q", "k", "v"),
    _HEADERS,
)
_O_PROJ = Kernel.load("o_proj", ("x", "residual", "weight", "scales", "offsets", "bias"), ("y",), _HEADERS)
_LM_HEAD = Kernel.load("lm_head", ("x", "norm", "eps", "weight", "scales", "offsets"), ("logits",), _HEADERS)


@dataclass(frozen=True, slots=True)
class Projections:
    """The matrices of one layer's attention, of one format and each with its bias, and the RMSNorm before them.

    `norm` [hidden]; `query` [heads * 64, hidden]; `key` and `value` [KV heads * 64, hidden]; `output`
    [hidden, heads * 64].
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


def why_not(weights: Projections | Head, dtype: mx.Dtype, head_dim: int = HEAD_DIM) -> str | None:
    """Why the kernels can't multiply by these weights, or take heads of `head_dim`; None if they can.

    `dtype` is that of x. What a call may ask beyond that is at most MAX_TOKENS rows of x.
    """
    if dtype not in (mx.bfloat16, mx.float16, mx.float32):
        return f"activations are {dtype}"
    if head_dim != HEAD_DIM:
        return f"head_dim is {head_dim}, not {HEAD_DIM}"
    if isinstance(weights, Head):
        return _why_not_matrix(weights.matrix)
    together = (weights.query, weights.key, weights.value)
    if len({(each.weight.dtype, each.bits, each.alignment) for each in together}) > 1:
        return "queries, keys and values have matrices of different formats"
    if any(each.bias is None for each in (*together, weights.output)):
        return "a matrix of the attention has no bias"
    return next(filter(None, map(_why_not_matrix, (*together, weights.output))), None)


def qkv(
    x: mx.array, weights: Projections, cosines: mx.array, sines: mx.array, variant: Variant | None = None
) -> tuple[mx.array, mx.array, mx.array]:
    """RMSNorm of x [T, hidden], times three matrices, with their biases; queries and keys turned by RoPE.

    Returns queries [T, heads, 64], keys and values [1, KV heads, T, 64], in x's dtype. cosines and sines are float32
    [T, 32] and turn the pairs (i, i + 32) of each head. A kernel takes 1 to MAX_TOKENS rows.
    """
    tokens = x.shape[0]
    query, key, value = weights.query, weights.key, weights.value
    heads, kv_heads = query.rows // HEAD_DIM, key.rows // HEAD_DIM
    if variant is None:
        normed = mx.fast.rms_norm(x, weights.norm, weights.eps)
        q = rotate(query(normed).reshape(tokens, heads, HEAD_DIM).swapaxes(0, 1), cosines, sines)
        k = rotate(key(normed).reshape(tokens, kv_heads, HEAD_DIM).swapaxes(0, 1), cosines, sines)
        v = value(normed).reshape(tokens, kv_heads, HEAD_DIM).swapaxes(0, 1)
        return q.swapaxes(0, 1), k[None], v[None]
    matrices = (*_biased(query), *_biased(key), *_biased(value))
    q, k, v = launch(
        Call(
            _QKV,
            (x, weights.norm, scalar(weights.eps, mx.float32), cosines, sines, *matrices),
            (*_parameters(x, query, variant), ("HEADS", heads), ("KV_HEADS", kv_heads)),
            *_geometry((heads + 2 * kv_heads) * HEAD_DIM, variant),
            ((tokens, heads, HEAD_DIM), (1, kv_heads, tokens, HEAD_DIM), (1, kv_heads, tokens, HEAD_DIM)),
            (x.dtype, x.dtype, x.dtype),
        )
    )
    return q, k, v


def o_proj(x: mx.array, residual: mx.array, weights: Projections, variant: Variant | None = None) -> mx.array:
    """x [T, heads * 64] times the attention's output matrix, plus its bias and `residual`: [T, hidden], in x's dtype.

    A kernel takes 1 to MAX_TOKENS rows.
    """
    matrix = weights.output
    if variant is None:
        return residual + matrix(x)
    [y] = launch(
        Call(
            _O_PROJ,
            (x, residual, *_biased(matrix)),
            (*_parameters(x, matrix, variant), ("OUT", matrix.rows)),
            *_geometry(matrix.rows, variant),
            (residual.shape,),
            (x.dtype,),
        )
    )
    return y


def lm_head(x: mx.array, weights: Head, variant: Variant | None = None) -> mx.array:
    """RMSNorm of x [T, hidden], times the output matrix: logits float32 [T, vocabulary].

    A kernel takes 1 to MAX_TOKENS rows.
    """
    matrix = weights.matrix
    if variant is None:
        return matrix(mx.fast.rms_norm(x, weights.norm, weights.eps)).astype(mx.float32)
    [logits] = launch(
        Call(
            _LM_HEAD,
            (x, weights.norm, scalar(weights.eps, mx.float32), *_format(matrix)),
            (*_parameters(x, matrix, variant), ("OUT", matrix.rows)),
            *_geometry(matrix.rows, variant),
            ((x.shape[0], matrix.rows),),
            (mx.float32,),
        )
    )
    return logits


def rotate(x: mx.array, cosines: mx.array, sines: mx.array) -> mx.array:
    """Turns the pairs (i, i + D/2) of x [..., T, D] by the angles whose cosines and sines are float32 [T, D/2]."""
    first, second = mx.split(x.astype(mx.float32), 2, axis=-1)
    turned = mx.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)
    return turned.astype(x.dtype)


def _format(matrix: Matrix) -> tuple[mx.array, mx.array, mx.array]:
    """Weight, scales and offsets; the weight stands in for the others where no kernel reads them."""
    weight = matrix.weight
    if matrix.scales is None or matrix.offsets is None:
        return weight, weight, weight
    return weight, matrix.scales, matrix.offsets


def _biased(matrix: Matrix) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    """Weight, scales, offsets and bias."""
    if matrix.bias is None:
        raise ValueError("this matrix has no bias, and the kernel adds one")
    return *_format(matrix), matrix.bias


def _parameters(x: mx.array, matrix: Matrix, variant: Variant) -> Parameters:
    return (
        ("T", x.dtype),
        ("TOKENS", x.shape[0]),
        ("K", matrix.columns),
        ("BITS", matrix.bits or 0),
        ("ALIGN", matrix.alignment),
        *variant,
    )


def _geometry(rows: int, variant: Variant) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and threadgroup, in threads, for that many rows of matrices."""
    chosen = dict(variant)
    return (32 * rows // chosen["ROWS"], 1, 1), (32 * chosen["SIMDGROUPS"], 1, 1)


def _why_not_matrix(matrix: Matrix) -> str | None:
    if matrix.rows % _LANES or matrix.columns % _LANES:
        return f"a matrix of {matrix.rows} x {matrix.columns} is no multiple of {_LANES} on both sides"
    if matrix.rows * matrix.columns >= _MOST_WEIGHTS:
        return f"a matrix of {matrix.rows} x {matrix.columns} has more weights than 32 bits count"
    if matrix.bits is not None and (matrix.bits not in QUANT_BITS or matrix.columns % QUANT_GROUP):
        return f"{matrix.columns} inputs at {matrix.bits} bits are not in groups of {QUANT_GROUP} at 8, 6 or 4 bits"
    if matrix.alignment not in (4, 8, 16):
        return f"weights are aligned to {matrix.alignment} bytes only"
    return None
