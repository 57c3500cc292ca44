"""What each operation of a layer computes, in MLX's own operations and in the order of a layer.

These are the definitions that the kernels are verified against, what runs where a kernel is not used, and the pieces
that the transformer's blocks are made of.
"""

from collections.abc import Sequence
from functools import lru_cache

import mlx.core as mx
import numpy as np

from metal.formats import HEAD_DIM
from metal.fused import fused
from metal.lanes import Activations
from metal.spans import Span, joined
from metal.weights import Head, Mixture, Projections

SWIGLU_ALPHA = 1.702
"""Slope of the gate's sigmoid (gpt_oss/torch/model.py); not in config.json."""


def qkv(x: mx.array, weights: Projections, cosines: mx.array, sines: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """RMSNorm of x [T, hidden], times three matrices, with their biases; queries and keys turned by RoPE.

    Returns queries [T, heads, 64], keys and values [1, KV heads, T, 64], in x's dtype. cosines and sines are float32
    [T, 32].
    """
    normed = mx.fast.rms_norm(x, weights.norm, weights.eps)
    q, k, v = (
        matrix(normed).reshape(len(x), -1, HEAD_DIM).swapaxes(0, 1)
        for matrix in (weights.query, weights.key, weights.value)
    )
    by = turns(cosines, sines)
    return rotate(q, by).swapaxes(0, 1), rotate(k, by)[None], v[None]


Turns = tuple[mx.array, mx.array]
"""What RoPE multiplies the first and the second half of a head by, each float32 [T, 2, D/2]."""


def turns(cosines: mx.array, sines: mx.array) -> Turns:
    """For the angles whose cosines and sines are float32 [T, D/2]; made once for all layers."""
    return _turns(cosines[:, None], sines[:, None], _IS_SECOND)


_IS_SECOND = mx.array([[False], [True]])


@fused
def _turns(cosines: mx.array, sines: mx.array, is_second: mx.array) -> Turns:
    return mx.where(is_second, sines, cosines), mx.where(is_second, cosines, -sines)


def rotate(x: mx.array, by: Turns) -> mx.array:
    """Turns the pairs (i, i + D/2) of x [..., T, D].

    Both halves are computed at once, so that nothing has to be put together.
    """
    halves = x.reshape(*x.shape[:-1], 2, -1)
    return _turned(halves[..., :1, :], halves[..., 1:, :], *by).reshape(x.shape)


@fused
def _turned(first: mx.array, second: mx.array, by_first: mx.array, by_second: mx.array) -> mx.array:
    return (first.astype(mx.float32) * by_first + second.astype(mx.float32) * by_second).astype(first.dtype)


def attend(
    queries: mx.array, spans: Sequence[Span], sinks: mx.array, scale: float, window: int | None = None
) -> mx.array:
    """softmax(scale * queries . keys, sinks) times values, for the newest T tokens of one sequence.

    queries [T, heads, 64]; the `spans` hold keys and values [1, KV heads, capacity, 64] in their order. Returns
    [T, heads, 64] in queries' dtype.
    """
    keys, values = (array.astype(queries.dtype) for array in joined(spans))
    return attention(queries.swapaxes(0, 1)[None], keys, values, sinks, scale, window)[0].swapaxes(0, 1)


def attention(
    queries: mx.array, keys: mx.array, values: mx.array, sinks: mx.array, scale: float, window: int | None
) -> mx.array:
    """The same for queries [B, heads, T, D] and keys and values [B, KV heads, K, D], the last T of which are theirs.

    Where a window cuts most keys off, QUERY_BLOCK queries are taken at a time with the keys that they may see, and no
    others are multiplied: of 2,048 queries with a window of 128 that is a sixth of the products.
    """
    length, count, sinks = queries.shape[2], keys.shape[2], sinks.astype(queries.dtype)
    block = length if window is None or count <= window else QUERY_BLOCK
    attended = []
    for start in range(0, length, block):
        stop = min(start + block, length)
        first, end = 0, count - length + stop
        if window is not None:
            first = max(0, end - (stop - start) - window + 1)
        attended.append(
            mx.fast.scaled_dot_product_attention(
                queries[:, :, start:stop],
                keys[:, :, first:end],
                values[:, :, first:end],
                scale=scale,
                mask=mask(stop - start, end - first, window),
                sinks=sinks,
            )
        )
    return attended[0] if len(attended) == 1 else mx.concatenate(attended, axis=2)


QUERY_BLOCK = 256
"""Queries of a sliding layer that are computed at once."""


def mask(queries: int, keys: int, window: int | None) -> mx.array | str | None:
    """What `mx.fast.scaled_dot_product_attention` takes for the last `queries` of `keys` positions.

    Each looks back at every key, or at the newest `window` keys, its own included: bool [queries, keys] where the
    window cuts keys off, else "causal", or None for a single query, which sees all keys.
    """
    if window is None or keys <= window:
        return None if queries == 1 else "causal"
    return _window_mask(queries, keys, window)


@lru_cache(maxsize=4)
def _window_mask(queries: int, keys: int, window: int) -> mx.array:
    """One for all layers and blocks of a size."""
    distance = np.arange(keys - queries, keys)[:, None] - np.arange(keys)
    return mx.array((distance >= 0) & (distance < window))


def o_proj(x: mx.array, residual: mx.array, weights: Projections) -> mx.array:
    """x [T, heads * 64] times the attention's output matrix, plus its bias and `residual`: [T, hidden] in x's dtype."""
    return residual + weights.output(x)


def route(x: mx.array, mixture: Mixture) -> tuple[Activations, mx.array]:
    """RMSNorm of x [N, hidden], rounded to x's dtype, and the router's logits float32 [N, E] of that.

    Logits aren't rounded to 16 bits: near-ties would go another way than in exact arithmetic.
    """
    normed = mx.fast.rms_norm(x, mixture.norm, mixture.eps).astype(x.dtype)
    router, bias = mixture.router.astype(mx.float32), mixture.router_bias.astype(mx.float32)
    logits = mx.addmm(bias, normed.astype(mx.float32), router.T)
    return Activations.of(normed), logits


def best(logits: mx.array, top_k: int) -> tuple[mx.array, mx.array]:
    """Indices [N, top_k] of the largest logits [N, E], and their weights, the softmax over these logits alone.

    The best comes first; of equal ones that with the lowest index, as in OpenAI's Metal kernel. Which experts are
    chosen has no gradient: MLX refuses one through the indices of a gather, so they are cut off before it.
    """
    chosen = mx.stop_gradient(mx.argsort(-logits, axis=-1)[:, :top_k])
    return chosen, mx.softmax(mx.take_along_axis(logits, chosen, axis=-1), axis=-1, precise=True)


@fused
def swiglu(gate: mx.array, up: mx.array, limit: float) -> mx.array:
    """gate * sigmoid(1.702 gate) * (up + 1); the gate is clamped from above only, up on both sides.

    Source: gpt_oss/torch/model.py.
    """
    gate = mx.minimum(gate, limit)
    up = mx.clip(up, -limit, limit)
    return gate * mx.sigmoid(SWIGLU_ALPHA * gate) * (up + 1)


def gate_up(normed: Activations, logits: mx.array, mixture: Mixture) -> Activations:
    """What the experts chosen by `logits` [N, E] make of normed [N, hidden] in their middle: [N, top_k, intermediate].

    A matrix-vector product and the clamped SwiGLU; slots are in falling order of their logits, of equal ones the lowest
    index first.
    """
    y = mixture.gate_up(normed.natural()[:, None, None, :], best(logits, mixture.top_k)[0]).squeeze(-2)
    return Activations.of(swiglu(y[..., ::2], y[..., 1::2], mixture.limit))


def down(hidden: Activations, logits: mx.array, residual: mx.array, mixture: Mixture) -> mx.array:
    """residual [N, hidden] plus what the experts chosen by `logits` make of hidden [N, top_k, intermediate].

    Each expert's output is weighted by the softmax over the chosen logits. [N, hidden] in residual's dtype.
    """
    chosen, weights = best(logits, mixture.top_k)
    y = mixture.down(hidden.natural()[..., None, :], chosen).squeeze(-2)
    return add_weighted(residual, y, weights)


@fused
def add_weighted(residual: mx.array, rows: mx.array, weights: mx.array) -> mx.array:
    """residual [N, hidden] plus rows [N, top_k, hidden], each times its weight float32 [N, top_k], in float32.

    The result has residual's dtype.
    """
    total = (rows.astype(mx.float32) * weights[..., None]).sum(axis=1)
    return (residual.astype(mx.float32) + total).astype(residual.dtype)


def lm_head(x: mx.array, weights: Head) -> mx.array:
    """RMSNorm of x [T, hidden], times the output matrix: logits float32 [T, vocabulary]."""
    return weights.matrix(mx.fast.rms_norm(x, weights.norm, weights.eps)).astype(mx.float32)
