"""What the dense kernels and attention should give, in float64, and how far off float32 sums and one rounding may be.

A `Value` carries with each result the sum of the magnitudes that were added up to make it, which is what the error of
such a sum is measured by (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.dense import Head, Projections
from metal.weights import QUANT_GROUP, Matrix

Array = NDArray[np.float64]

UNIT = {mx.bfloat16: 2.0**-8, mx.float16: 2.0**-11, mx.float32: 2.0**-24}
"""The largest relative error of rounding to the nearest number of a type."""

_SMALLEST = {mx.bfloat16: 2.0**-126, mx.float16: 2.0**-24, mx.float32: 2.0**-126}
"""Below this a number may become zero: Apple GPUs flush float32 denormals, and halves end here."""

_ROUNDINGS = 8
"""How many float32 roundings of a sum of magnitudes an error may reach. Up to 64 follow each other on the way of a term
into a result: in a lane 4 in a chunk and 3 a pass, 12 passes for the longest row here, 5 over the lanes, a few at the
end. They go either way, so that their sum grows like the square root (Higham and Mary, 2019)."""


@dataclass(frozen=True)
class Value:
    """Results and, for each, the sum of the magnitudes of its terms."""

    values: Array
    magnitudes: Array

    def worst(self, got: mx.array) -> float:
        """The largest error of `got`, in units of what it may be: one rounding to its type, and those of the sum."""
        assert got.size == self.values.size
        error = np.abs(exact(got).reshape(self.values.shape) - self.values)
        allowed = UNIT[got.dtype] * np.abs(self.values) + _ROUNDINGS * UNIT[mx.float32] * self.magnitudes
        allowed += _SMALLEST[got.dtype]
        return float(np.max(error / allowed))

    def arranged(self, arrange: Callable[[Array], Array]) -> "Value":
        """The same results in another shape or order."""
        return Value(arrange(self.values), arrange(self.magnitudes))


def exact(x: mx.array) -> Array:
    """An array's values."""
    return np.array(x.astype(mx.float32)).astype(np.float64)


def weights(matrix: Matrix) -> Array:
    """The matrix [rows, columns] that its arrays mean, unpacked bit by bit."""
    if matrix.bits is None or matrix.scales is None or matrix.offsets is None:
        return exact(matrix.weight)
    bits = np.unpackbits(np.array(matrix.weight).view(np.uint8), axis=-1, bitorder="little")
    codes = sum(bits[:, place :: matrix.bits] << place for place in range(matrix.bits))
    scales, offsets = (np.repeat(exact(each), QUANT_GROUP, axis=-1) for each in (matrix.scales, matrix.offsets))
    return codes * scales + offsets


def qkv(x: mx.array, layer: Projections, cosines: mx.array, sines: mx.array) -> tuple[Value, Value, Value]:
    """q [T, heads, 64], k and v [1, KV heads, T, 64]."""
    normed = _normed(x, layer.norm, layer.eps)
    matrices = (layer.query, layer.key, layer.value)
    q, k, v = (_product(normed, each).arranged(lambda y: y.reshape(len(y), -1, 64)) for each in matrices)
    q, k = (_turned(each, exact(cosines), exact(sines)) for each in (q, k))
    return q, *(each.arranged(lambda y: y.swapaxes(0, 1)[None]) for each in (k, v))


def o_proj(x: mx.array, residual: mx.array, layer: Projections) -> Value:
    """[T, hidden]"""
    product, residue = _product(exact(x), layer.output), exact(residual)
    return Value(product.values + residue, product.magnitudes + np.abs(residue))


def lm_head(x: mx.array, head: Head) -> Value:
    """[T, vocabulary]"""
    return _product(_normed(x, head.norm, head.eps), head.matrix)


def attend(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    start: int,
    length: int,
    sinks: mx.array,
    scale: float,
    window: int | None,
) -> Value:
    """[T, heads, 64], straight from the definition of softmax."""
    slots = (start + np.arange(length)) % keys.shape[2]
    k, v = exact(keys)[0][:, slots], exact(values)[0][:, slots]
    tokens, heads, _ = queries.shape
    q = exact(queries).reshape(tokens, len(k), -1, 64)  # h: KV heads, g: queries that share one, t: tokens, k: keys
    scores = np.einsum("thgd,hkd->thgk", q, k, optimize=True) * scale
    behind = length - tokens + np.arange(tokens)[:, None] - np.arange(length)
    seen = ((behind >= 0) & (behind < (window or length)))[:, None, None]
    scores = np.where(seen, scores, -np.inf)
    sink = exact(sinks).reshape(len(k), -1, 1)
    top = np.maximum(scores.max(-1, keepdims=True), sink)
    weight = np.exp(scores - top)
    weight /= weight.sum(-1, keepdims=True) + np.exp(sink - top)
    # An error of a score, which is that of its sum, is a relative error of its weight.
    terms = np.einsum("thgd,hkd->thgk", np.abs(q), np.abs(k), optimize=True) * abs(scale)
    attended = Value(
        np.einsum("thgk,hkd->thgd", weight, v, optimize=True),
        np.einsum("thgk,hkd->thgd", weight * (1 + np.where(seen, terms, 0)), np.abs(v), optimize=True),
    )
    return attended.arranged(lambda y: y.reshape(tokens, heads, 64))


def _normed(x: mx.array, norm: mx.array, eps: float) -> Array:
    values = exact(x)
    return values / np.sqrt((values**2).mean(-1, keepdims=True) + eps) * exact(norm)


def _product(x: Array, matrix: Matrix) -> Value:
    """x [T, columns] times the matrix, plus its bias: [T, rows]."""
    unpacked = weights(matrix)
    bias = 0 if matrix.bias is None else exact(matrix.bias)
    magnitudes = np.abs(x) @ np.abs(unpacked).T
    if matrix.bits is not None and matrix.offsets is not None:
        # Scale times code and offset are added up apart from each other, and may cancel.
        magnitudes = magnitudes + 2 * np.abs(x) @ np.repeat(np.abs(exact(matrix.offsets)), QUANT_GROUP, axis=-1).T
    return Value(x @ unpacked.T + bias, magnitudes + np.abs(bias))


def _turned(x: Value, cosines: Array, sines: Array) -> Value:
    c, s = cosines[:, None], sines[:, None]
    low, high = np.split(x.values, 2, axis=-1)
    low_m, high_m = np.split(x.magnitudes, 2, axis=-1)
    return Value(
        np.concatenate([low * c - high * s, high * c + low * s], axis=-1),
        np.concatenate([low_m * abs(c) + high_m * abs(s), high_m * abs(c) + low_m * abs(s)], axis=-1),
    )
