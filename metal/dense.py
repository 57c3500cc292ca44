"""Launches the dense products of a decode step: queries, keys and values; the attention's output; logits.

Without a variant of its kernel, an operation is computed by MLX's own on the same arrays (metal/portable.py), which
define it. Kernels keep sums and what lies between (the normed x, products before bias and RoPE) in float32 and round
once, when a result is written; MLX rounds each of these to x's dtype.
"""

import mlx.core as mx

from metal import portable
from metal.formats import HEAD_DIM, QUANT_GROUP, Packing
from metal.launch import Call, Kernel, Parameters, launch, scalar
from metal.operation import Variant, rows_of_text, with_loads
from metal.weights import Head, Matrix, Projections

_MULTIPLE = 32
"""Sizes are multiples of this, so that rows divide by those a threadgroup takes, and columns by what a lane takes."""

_MOST_WEIGHTS = 2**32
_PACKINGS = tuple(Packing("affine", bits, QUANT_GROUP) for bits in (8, 6, 4))

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


def why_not(weights: Projections | Head, dtype: mx.Dtype) -> str | None:
    """Why the kernels can't multiply by these weights; None if they can.

    `dtype` is that of x. What a call may ask beyond that is at most MOST_ROWS rows of x.
    """
    if dtype not in (mx.bfloat16, mx.float16, mx.float32):
        return f"activations are {dtype}"
    if isinstance(weights, Head):
        return _why_not_matrix(weights.matrix)
    together = (weights.query, weights.key, weights.value)
    if len({(each.weight.dtype, each.packing, each.alignment) for each in together}) > 1:
        return "queries, keys and values have matrices of different formats"
    if any(each.bias is None for each in (*together, weights.output)):
        return "a matrix of the attention has no bias"
    return next(filter(None, map(_why_not_matrix, (*together, weights.output))), None)


def qkv(
    x: mx.array, weights: Projections, cosines: mx.array, sines: mx.array, variant: Variant | None = None
) -> tuple[mx.array, mx.array, mx.array]:
    """RMSNorm of x [T, hidden], times three matrices, with their biases; queries and keys turned by RoPE.

    Returns queries [T, heads, 64], keys and values [1, KV heads, T, 64], in x's dtype. cosines and sines are float32
    [T, 32] and turn the pairs (i, i + 32) of each head. A kernel takes 1 to MOST_ROWS rows.
    """
    if variant is None:
        return portable.qkv(x, weights, cosines, sines)
    tokens = x.shape[0]
    query, key, value = weights.query, weights.key, weights.value
    heads, kv_heads = query.rows // HEAD_DIM, key.rows // HEAD_DIM
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

    A kernel takes 1 to MOST_ROWS rows.
    """
    if variant is None:
        return portable.o_proj(x, residual, weights)
    matrix = weights.output
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

    A kernel takes 1 to MOST_ROWS rows.
    """
    if variant is None:
        return portable.lm_head(x, weights)
    matrix = weights.matrix
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
        ("TOKENS", rows_of_text(x.shape[0])),
        ("K", matrix.columns),
        ("BITS", matrix.packing.bits if matrix.packing is not None else 0),
        *with_loads(matrix.alignment, variant),
    )


def _geometry(rows: int, variant: Variant) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and threadgroup, in threads, for that many rows of matrices."""
    chosen = dict(variant)
    return (32 * rows // chosen["ROWS"], 1, 1), (32 * chosen["SIMDGROUPS"], 1, 1)


def _why_not_matrix(matrix: Matrix) -> str | None:
    if matrix.rows % _MULTIPLE or matrix.columns % _MULTIPLE:
        return f"a matrix of {matrix.rows} x {matrix.columns} is not a multiple of {_MULTIPLE} on both sides"
    if matrix.rows * matrix.columns >= _MOST_WEIGHTS:
        return f"a matrix of {matrix.rows} x {matrix.columns} has more weights than 32 bits count"
    if matrix.packing is not None and matrix.packing not in _PACKINGS:
        packing = matrix.packing
        return (
            f"a matrix is {packing.mode} at {packing.bits} bits in groups of {packing.group_size}; "
            f"the kernels read affine at 8, 6 or 4 bits in groups of {QUANT_GROUP}"
        )
    if matrix.adapter is not None:
        return "a matrix has an adapter, which the kernels don't apply"
    if matrix.alignment not in (4, 8, 16):
        return f"weights are aligned to {matrix.alignment} bytes only"
    return None
