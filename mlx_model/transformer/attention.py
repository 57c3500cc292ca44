"""Grouped-query attention with sinks and a sliding window, for any number of tokens and sequences."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx

from metal.portable import Turns, attention, rotate
from metal.weights import Projections
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.compute import Compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.rope import score_scale


@dataclass(slots=True)
class Attention:
    """One layer's attention. `sinks` [heads] are logits that take part in the softmax and carry no value."""

    config: ModelConfig
    layer: int
    projections: Projections
    sinks: mx.array

    def __call__(self, x: mx.array, by: Turns, caches: Sequence[Cache], compute: Compute) -> mx.array:
        """x [B, T, hidden] at the caches' positions, plus its attention: [B, T, hidden]. Its keys and values join the
        caches, as many tokens each. Queries and keys are turned `by` the angles of their positions."""
        weights, (batch, length, _) = self.projections, x.shape
        normed = mx.fast.rms_norm(x, weights.norm, weights.eps)
        queries, keys, values = (
            compute.product(matrix, normed).reshape(batch, length, -1, self.config.head_dim).transpose(0, 2, 1, 3)
            for matrix in (weights.query, weights.key, weights.value)
        )
        queries, keys = rotate(queries, by), rotate(keys, by)
        parts = zip(caches, *(mx.split(array, len(caches), axis=2) for array in (queries, keys, values)), strict=True)
        attended = mx.concatenate([self._over(*part) for part in parts], axis=2)
        return x + compute.product(weights.output, attended.transpose(0, 2, 1, 3).reshape(batch, length, -1))

    def _over(self, cache: Cache, queries: mx.array, keys: mx.array, values: mx.array) -> mx.array:
        """What queries [B, heads, T, head_dim] see in one cache, in which keys and values of theirs join others."""
        keys, values = cache.append(self.layer, keys, values)
        return attention(queries, keys, values, self.sinks, score_scale(self.config), self.config.window(self.layer))
