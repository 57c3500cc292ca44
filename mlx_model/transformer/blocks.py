"""The gpt-oss transformer: token ids to logits."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import mlx.core as mx

from metal.portable import Turns, add_weighted, best, route, turns
from metal.weights import Head, Mixture
from mlx_model.transformer.attention import Attention
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.compute import Compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.decode import Decoder
from mlx_model.transformer.embedding import Embedding
from mlx_model.transformer.experts import sorted_rows
from mlx_model.transformer.positions import MOST_MARKS
from mlx_model.transformer.rope import RopeTable
from mlx_model.transformer.slots import Streaming
from mlx_model.transformer.streamed import Streamed


@dataclass(slots=True)
class Block:
    """One layer: attention and mixture of experts, each on the normed residual stream and added to it."""

    attention: Attention
    mixture: Mixture
    streamed: Streamed | None = None
    """None where all experts are in memory."""

    def __call__(self, x: mx.array, by: Turns, caches: Sequence[Cache]) -> mx.array:
        """x [B, T, hidden] to the same shape; queries and keys are turned `by` the angles of their positions."""
        x = self.attention(x, by, caches)
        return mixture_of_experts(x.reshape(-1, x.shape[-1]), self.mixture, self.streamed).reshape(x.shape)


def mixture_of_experts(x: mx.array, mixture: Mixture, streamed: Streamed | None = None) -> mx.array:
    """x [N, hidden], not normed, plus its mixture of experts: each row goes through its `top_k` experts, weighted."""
    normed, logits = route(x, mixture)
    experts, weights = best(logits, mixture.top_k)
    if streamed is None:
        rows = sorted_rows(normed.natural(), experts, mixture)
    else:
        rows = streamed.rows(normed.natural(), experts)
    return add_weighted(x, rows, weights)


@dataclass(slots=True)
class Transformer:
    """Embedding rows, blocks, final norm and output matrix (which is its own, not the embedding's).

    `compute` says how all of it is computed here; `decoder` takes the next token of few sequences where Metal kernels
    are used. `streaming` is None where all experts are in memory.
    """

    config: ModelConfig
    compute: Compute
    embedding: Embedding
    blocks: list[Block]
    head: Head
    rope: RopeTable[mx.array]
    decoder: Decoder | None = None
    streaming: Streaming | None = None

    def make_cache(self, *, most_marks: int = MOST_MARKS, dtype: mx.Dtype | None = None) -> Cache:
        """An empty KV cache for this model; see Cache."""
        windows = (self.config.window(layer) for layer in range(self.config.num_hidden_layers))
        return Cache(windows, most_marks=most_marks, dtype=dtype)

    def __call__(
        self, tokens: mx.array, cache: Cache | Sequence[Cache], logits: Literal["all", "last", "none"] = "all"
    ) -> mx.array:
        """Ids [B, T], which follow what the cache holds and join it, to logits float32 [B, T or 1, vocab].

        Of several caches each takes as many tokens of T: all are computed together but for attention, which is that of
        each sequence alone. By the kernels a sequence's logits are those it has alone. By MLX's operations what is
        multiplied together is summed in another order, so that they differ from those, as they do between a prompt
        computed whole and in chunks; in float32 by some 1e-6.

        With "none" the result is the last hidden state [B, T, hidden]: in prefill, only the prompt's last token needs
        the output matrix, a third of the weights a token reads.
        """
        caches = [cache] if isinstance(cache, Cache) else cache
        x = self.through(self.embedding(tokens), caches)
        if logits == "none":
            return x
        decoder = self._decoder(len(tokens), tokens.shape[1] // len(caches), len(caches))
        return self.logits(x if logits == "all" else x[:, -1:], decoded=decoder is not None)

    def through(self, x: mx.array, caches: Sequence[Cache]) -> mx.array:
        """Rows [B, T, hidden] before the first layer, whose keys join the caches, to those behind the last."""
        with nullcontext() if self.streaming is None else self.streaming.step:
            return self._through(x, caches)

    def _through(self, x: mx.array, caches: Sequence[Cache]) -> mx.array:
        each = x.shape[1] // len(caches)
        angles = [self.rope.at(cache.offset, each) for cache in caches]
        cos, sin = (mx.concatenate([*part]) for part in zip(*angles, strict=True))
        decoder = self._decoder(len(x), each, len(caches))
        if decoder is not None:
            x = decoder.hidden(x.squeeze(0), cos, sin, caches)[None]
        else:
            by = turns(cos, sin)
            for block in self.blocks:
                x = block(x, by, caches)
        for cache in caches:
            cache.advance(each)
        return x

    def logits(self, x: mx.array, *, decoded: bool) -> mx.array:
        """Logits float32 [B, T, vocab] of rows behind the last layer, which were `decoded` by the kernels or not."""
        if self.decoder is not None and decoded:
            return self.decoder.logits(x.squeeze(0))[None]
        normed = mx.fast.rms_norm(x, self.head.norm, self.head.eps)
        return self.head.matrix(normed).astype(mx.float32)

    def _decoder(self, batch: int, tokens: int, sequences: int) -> Decoder | None:
        """What takes a step of that shape, where it is not the blocks."""
        return self.decoder if self.decoder is not None and self.decoder.takes(batch, tokens, sequences) else None
