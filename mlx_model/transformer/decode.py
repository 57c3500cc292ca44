"""The decode step on the Metal kernels: the next token of one to eight sequences through every layer.

The same mathematics as the transformer's own blocks, which every other input takes. Each operation runs by its kernel
or by MLX's operations, whichever metal.trust found right and faster on this machine for so many rows. Rows are
multiplied by the same matrices in one launch; each attends to a cache of its own in a launch of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx

from metal.attend import attend
from metal.dense import lm_head, o_proj, qkv
from metal.experts import expert_layer
from metal.operation import MOST_ROWS, Choice
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

    def takes(self, rows: int) -> bool:
        """Whether there are slots for all experts that so many rows may choose, where some are read from the disk."""
        return self.streamed is None or rows * self.mixture.top_k <= self.mixture.held

    def experts(self, x: mx.array, choice: Choice) -> mx.array:
        """x [N, hidden] plus its mixture of experts."""
        if self.streamed is None:
            return expert_layer(x, self.mixture, choice)
        y = expert_layer(x, self.mixture, choice, self.streamed.logits_of_slots)
        self.streamed.computing(y)
        return y


def without_kernels(rows: int) -> Choice:
    """The choice for several rows where none has been made."""
    return {}


@dataclass(frozen=True, slots=True)
class Decoder:
    """All layers and the output matrix.

    `scale` multiplies the attention's scores. `choice` has each operation's variant for one row; `several` gives those
    for up to MOST_ROWS, which it may first have to find out. `gpu_cores` is 0 where it is not known.
    """

    layers: Sequence[DecodeLayer]
    head: Head
    scale: float
    choice: Choice
    gpu_cores: int = 0
    several: Callable[[int], Choice] = without_kernels

    def takes(self, batch: int, tokens: int, sequences: int) -> bool:
        """Whether so many new tokens go this way: those of a batch, or as many of each of several sequences."""
        if not batch == tokens == 1 or sequences > MOST_ROWS or not all(each.takes(sequences) for each in self.layers):
            return False
        return sequences == 1 or any(variant is not None for variant in self._chosen(sequences).values())

    def hidden(self, x: mx.array, cosines: mx.array, sines: mx.array, caches: Sequence[Cache]) -> mx.array:
        """Embeddings [N, hidden] at the positions of N caches to the last layer's output, of the same shape.

        Cosines and sines are float32 [N, 32]. Keys and values join the caches, which hand out no key that the token may
        not see: so attention needs no window.
        """
        chosen = self._chosen(len(caches))
        for index, layer in enumerate(self.layers):
            queries, keys, values = qkv(x, layer.projections, cosines, sines, chosen["qkv"])
            attended = [
                self._attend(index, queries[row : row + 1], Span(keys, values, 1, row), cache)
                for row, cache in enumerate(caches)
            ]
            together = attended[0] if len(attended) == 1 else mx.concatenate(attended)
            x = o_proj(together.reshape(len(x), -1), x, layer.projections, chosen["o_proj"])
            x = layer.experts(x, chosen)
        return x

    def logits(self, x: mx.array) -> mx.array:
        """The last layer's output [N, hidden] to logits float32 [N, vocab]."""
        return lm_head(x, self.head, self._chosen(len(x))["lm_head"])

    def _attend(self, index: int, queries: mx.array, newest: Span, cache: Cache) -> mx.array:
        """What the queries [1, heads, 64] see in a cache that their key and value join.

        The kernel reads keys where they lie, MLX's operations need one buffer.
        """
        variant = self.choice["attend"]
        if variant is None:
            keys, values = cache.append(index, *newest.view())
            spans: Sequence[Span] = [Span(keys, values, keys.shape[2])]
        else:
            spans = cache.append_spans(index, newest)
        sinks = self.layers[index].sinks
        return attend(queries, spans, sinks, self.scale, cores=self.gpu_cores, variant=variant)

    def _chosen(self, rows: int) -> Choice:
        """The variants for so many rows. What runs by MLX's operations for one does so for several."""
        if rows == 1:
            return self.choice
        several = self.several(rows)
        return {name: None if one is None else several.get(name) for name, one in self.choice.items()}
