"""The decode step on the Metal kernels: a few new tokens through every layer, in eight to ten launches each.

The same mathematics as the transformer's own blocks, which every other input takes. Each operation runs by its kernel
or by MLX's operations, whichever metal.select found right and faster on this machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx

from metal.attend import attend
from metal.dense import Head, Projections, lm_head, o_proj, qkv
from metal.experts import Mixture, mixture_of_experts
from metal.operation import Variant
from mlx_model.cache import Cache

MAX_TOKENS = 4
"""New tokens at once; from there on MLX's matrix products read each weight once for several tokens, too."""


@dataclass(frozen=True, slots=True)
class DecodeLayer:
    """One layer as the kernels take it. `sinks` [heads]; `window` as in ModelConfig.window."""

    projections: Projections
    sinks: mx.array
    window: int | None
    mixture: Mixture


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
        return batch == 1 and tokens <= MAX_TOKENS

    def hidden(self, x: mx.array, cosines: mx.array, sines: mx.array, cache: Cache) -> mx.array:
        """Embeddings [T, hidden] at the cache's positions to the last layer's output, of the same shape.

        Cosines and sines are float32 [T, 32]. Keys and values join the cache.
        """
        for index, layer in enumerate(self.layers):
            queries, keys, values = qkv(x, layer.projections, cosines, sines, self.choice["qkv"])
            keys, values, length = cache.append_whole(index, keys, values)
            attended = attend(
                queries,
                keys,
                values,
                start=0,
                length=length,
                sinks=layer.sinks,
                scale=self.scale,
                window=layer.window,
                cores=self.gpu_cores,
                variant=self.choice["attend"],
            )
            x = o_proj(attended.reshape(x.shape[0], -1), x, layer.projections, self.choice["o_proj"])
            x = mixture_of_experts(x, layer.mixture, self.choice)
        return x

    def logits(self, x: mx.array) -> mx.array:
        """The last layer's output [T, hidden] to logits float32 [T, vocab]."""
        return lm_head(x, self.head, self.choice["lm_head"])
