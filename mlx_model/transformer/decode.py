"""The decode step on the Metal kernels: one new token through every layer, in nine launches each.

The same mathematics as the transformer's own blocks, which every other input takes. Each operation runs by its kernel
or by MLX's operations, whichever metal.trust found right and faster on this machine, for one token: the kernels take up
to four, but what was not tried on a GPU is not used on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx

from metal.attend import attend
from metal.dense import lm_head, o_proj, qkv
from metal.experts import expert_layer
from metal.operation import Variant
from metal.spans import Span
from metal.weights import Head, Mixture, Projections
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.streamed import Streamed


@dataclass(frozen=True, slots=True)
class DecodeLayer:
    """One layer as the kernels take it. `sinks` [heads]. `streamed` is None where all experts are in memory."""

    projections: Projections
    sinks: mx.array
    mixture: Mixture
    streamed: Streamed | None = None

    def experts(self, x: mx.array, choice: Mapping[str, Variant | None]) -> mx.array:
        """x [N, hidden] plus its mixture of experts."""
        if self.streamed is None:
            return expert_layer(x, self.mixture, choice)
        y = expert_layer(x, self.mixture, choice, self.streamed.logits_of_slots)
        self.streamed.computing(y)
        return y


@dataclass(frozen=True, slots=True)
class Decoder:
    """All layers and the output matrix.

    `scale` multiplies the attention's scores. `choice` has each operation's variant, None for MLX's operations;
    `gpu_cores` is 0 where it is not known.
    """

    layers: Sequence[DecodeLayer]
    head: Head
    scale: float
    choice: Mapping[str, Variant | None]
    gpu_cores: int = 0

    def takes(self, batch: int, tokens: int) -> bool:
        """Whether so many new tokens of so many sequences can go this way."""
        return batch == tokens == 1

    def hidden(self, x: mx.array, cosines: mx.array, sines: mx.array, cache: Cache) -> mx.array:
        """The embedding [1, hidden] at the cache's position to the last layer's output, of the same shape.

        Cosines and sines are float32 [1, 32]. Keys and values join the cache, which hands out no key that the token may
        not see: so attention needs no window. The kernel reads keys where they lie, MLX's operations need one buffer.
        """
        by_kernel = self.choice["attend"] is not None
        for index, layer in enumerate(self.layers):
            queries, keys, values = qkv(x, layer.projections, cosines, sines, self.choice["qkv"])
            if by_kernel:
                spans = cache.append_spans(index, keys, values)
            else:
                keys, values = cache.append(index, keys, values)
                spans = (Span(keys, values, keys.shape[2]),)
            attended = attend(
                queries,
                spans,
                sinks=layer.sinks,
                scale=self.scale,
                cores=self.gpu_cores,
                variant=self.choice["attend"],
            )
            x = o_proj(attended.reshape(1, -1), x, layer.projections, self.choice["o_proj"])
            x = layer.experts(x, self.choice)
        return x

    def logits(self, x: mx.array) -> mx.array:
        """The last layer's output [1, hidden] to logits float32 [1, vocab]."""
        return lm_head(x, self.head, self.choice["lm_head"])
