"""Grouped-query attention with sinks and a sliding window, in MLX's own operations."""

from dataclasses import dataclass

import mlx.core as mx

from metal.dense import rotate
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.linear import Linear
from mlx_model.transformer.rope import score_scale


@dataclass(slots=True)
class Attention:
    """One layer's attention. `sinks` [heads] are logits that take part in the softmax and carry no value."""

    config: ModelConfig
    layer: int
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    sinks: mx.array

    def __call__(self, x: mx.array, cos: mx.array, sin: mx.array, cache: Cache) -> mx.array:
        """x [B, T, hidden] at the cache's positions to [B, T, hidden]; its keys and values join the cache."""
        batch, length, _ = x.shape
        queries = rotate(self._heads(self.query(x), batch, length), cos, sin)
        keys = rotate(self._heads(self.key(x), batch, length), cos, sin)
        values = self._heads(self.value(x), batch, length)
        keys, values = cache.append(self.layer, keys, values)
        attended = mx.fast.scaled_dot_product_attention(
            queries,
            keys,
            values,
            scale=score_scale(self.config),
            mask=self._mask(length, keys.shape[2]),
            sinks=self.sinks,
        )
        return self.output(attended.transpose(0, 2, 1, 3).reshape(batch, length, -1))

    def _heads(self, x: mx.array, batch: int, length: int) -> mx.array:
        return x.reshape(batch, length, -1, self.config.head_dim).transpose(0, 2, 1, 3)

    def _mask(self, queries: int, keys: int) -> mx.array | str | None:
        """The last `queries` of `keys` positions look back: at everything, or at `window` keys, themselves included."""
        if queries == 1:
            return None  # the cache hands out no more than this query may see
        window = self.config.window(self.layer)
        if window is None or keys <= window:
            return "causal"
        distance = mx.arange(keys - queries, keys)[:, None] - mx.arange(keys)
        return (distance >= 0) & (distance < window)
