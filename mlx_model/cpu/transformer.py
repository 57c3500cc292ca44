"""The gpt-oss transformer on a CPU: token ids to logits by compiled layers, over weights that lie in mapped files."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_model.cpu.attention import Cached
from mlx_model.cpu.cache import EVERYTHING, CompiledCache, Shape, cached
from mlx_model.cpu.compiling import compile_for
from mlx_model.cpu.kernels.formats import fields_of
from mlx_model.cpu.kernels.lanes import padded
from mlx_model.cpu.kernels.panels import aligned
from mlx_model.cpu.kernels.sharing import new_state
from mlx_model.cpu.layer import Layer, Room, Sizes, add_experts, head, layer, until_experts
from mlx_model.cpu.streamed import streamed_layer
from mlx_model.cpu.threads import Team, thread_count
from mlx_model.transformer.compute import Compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.embedding import Embedding
from mlx_model.transformer.positions import MOST_MARKS
from mlx_model.transformer.rope import RopeTable, score_scale
from mlx_model.transformer.slots import Streaming

Floats = NDArray[np.float32]

_WORTH_THREADS = 1 << 24
"""Products of a step from which more than one thread pays: a millisecond's; waking a thread takes a tenth of that."""


class Head(NamedTuple):
    """The RMSNorm before the output matrix, float32 [hidden], and the matrix in a format of kernels/formats.py."""

    norm: Floats
    matrix: Any


@dataclass
class CompiledTransformer:
    """What transformer/blocks.Transformer is, for a CPU.

    `check_files` raises CheckpointError if what is mapped is no longer there; it is called before every step.
    `streaming` is None where all experts are in memory, or pages of their files.
    """

    config: ModelConfig
    compute: Compute
    embedding: Embedding
    layers: list[Layer]
    head: Head
    check_files: Callable[[], None]
    decoder: None = None
    streaming: Streaming | None = None
    _compiled: set[mx.Dtype | None] = field(default_factory=set)

    def make_cache(self, *, most_marks: int = MOST_MARKS, dtype: mx.Dtype | None = None) -> CompiledCache:
        """An empty KV cache for this model, of float32 or, where `dtype` is bfloat16, of that."""
        self.compile(dtype)
        return self._cache(most_marks, dtype)

    def _cache(self, most_marks: int, dtype: mx.Dtype | None) -> CompiledCache:
        config = self.config
        windows = (config.window(index) for index in range(config.num_hidden_layers))
        number = np.dtype(np.float32 if dtype is None else np.uint16)
        return CompiledCache(windows, Shape(config.num_key_value_heads, config.head_dim, number), most_marks=most_marks)

    def __call__(self, tokens: mx.array, cache: Any, logits: Literal["all", "last", "none"] = "all") -> mx.array:
        """See Transformer; `cache` is one of make_cache's, or several. A row has the bits that it has alone, up to FEW
        (kernels/panels.py) tokens in all."""
        self.check_files()
        caches: Sequence[CompiledCache] = [cache] if isinstance(cache, CompiledCache) else cache
        batch, count = tokens.shape
        x = _floats(batch * count, self.config.hidden_size)
        x[:] = self.embedding(tokens.reshape(1, -1))[0]
        if logits == "all":
            ends = [slice(0, len(x))]
        else:
            ends = [slice(end - 1, end) for end in range(count, len(x) + 1, count) if logits == "last"]
        found = self._step(x, caches, batch, ends)
        result = x if logits == "none" else found
        return mx.array(result.reshape(batch, -1, result.shape[1]))

    def through(self, rows: mx.array, caches: Sequence[CompiledCache]) -> mx.array:
        """See Transformer."""
        self.check_files()
        x = self._flat(rows)
        self._step(x, caches, len(rows), [])
        return mx.array(x.reshape(rows.shape))

    def logits(self, rows: mx.array, *, decoded: bool = False) -> mx.array:
        """See Transformer."""
        x = self._flat(rows)
        found = self._computed(x, self.rope.at(0, 1), [], [slice(0, len(x))])
        return mx.array(found.reshape(*rows.shape[:2], -1))

    def _flat(self, rows: mx.array) -> Floats:
        """Rows [B, T, hidden] as [B * T, hidden]."""
        x = _floats(rows.shape[0] * rows.shape[1], self.config.hidden_size)
        x[:] = np.array(rows, copy=False).reshape(x.shape)
        return x

    def _step(self, x: Floats, caches: Sequence[CompiledCache], batch: int, ends: Sequence[slice]) -> Floats:
        """x [B * T, hidden] through all layers, in place, each cache's tokens joining it; the logits of `ends`."""
        each = len(x) // batch // len(caches)
        angles = self._angles(caches, batch, each)
        for one in caches:
            one.extend(batch, each)
        kept = [cached(caches, batch, index, each) for index in range(len(self.layers))]
        found = self._computed(x, angles, kept, ends)
        for one in caches:
            one.advance(each)
        return found

    def compile(self, dtype: mx.Dtype | None) -> None:
        """Compiles what a step runs with a cache of this dtype, or reads what was compiled before.

        Once, and before the threads of a step would do so, one waiting for the other.
        """
        if dtype in self._compiled:
            return
        cache = self._cache(1, dtype)
        cache.extend(1, 1)
        room, (cosines, sines), kept = self._room(1, 1), self._angles([cache], 1, 1), cached([cache], 1, 0, 1)
        x, sizes, state = room.normed[0], self.sizes, new_state(1)
        heads = (self.head.norm, sizes.eps, sizes.dense_fields, self.head.matrix)
        compile_for(head, state, 0, *heads, x, room.normed, room.dense_lanes, room.logits)
        streamed = 0 if self.streaming is None else len(self.streaming.slots)
        for each in self.layers[:streamed]:
            compile_for(until_experts, state, 0, each, sizes, x, room, cosines, sines, kept, 1)
            compile_for(add_experts, state, 0, each, sizes, room.starts[0], x, room)
        for each in self.layers[streamed:]:
            compile_for(layer, state, 0, each, sizes, x, room, cosines, sines, kept, 1)
        self._compiled.add(dtype)

    def _angles(self, caches: Sequence[CompiledCache], batch: int, each: int) -> tuple[Floats, Floats]:
        """Cosines and sines of the next tokens, `each` of every cache, once for each of `batch`."""
        parts = zip(*(self.rope.at(one.offset, each) for one in caches), strict=True)
        cosines, sines = (np.tile(np.concatenate(part), (batch, 1)) for part in parts)
        return cosines, sines

    @cached_property
    def rope(self) -> RopeTable[Floats]:
        """Of the model's positions."""
        return RopeTable(self.config, np.asarray)

    @cached_property
    def weights_of_token(self) -> int:
        """Products of a weight and an activation for one token, about."""
        config = self.config
        attention = 2 * (config.num_attention_heads + config.num_key_value_heads) * config.head_dim
        experts = 3 * config.num_experts_per_tok * config.intermediate_size
        return config.hidden_size * (config.num_hidden_layers * (attention + experts) + config.vocab_size)

    @cached_property
    def sizes(self) -> Sizes:
        """What the layers share."""
        first, config = self.layers[0], self.config
        return Sizes(
            eps=np.float32(config.rms_norm_eps),
            scale=np.float32(score_scale(config)),
            limit=np.float32(config.swiglu_limit),
            top_k=config.num_experts_per_tok,
            dense_fields=fields_of(type(first.query)),
            output_fields=fields_of(type(first.output)),
            expert_fields=fields_of(type(first.down)),
        )

    def _computed(
        self, x: Floats, angles: tuple[Floats, Floats], kept: Sequence[Cached], ends: Sequence[slice]
    ) -> Floats:
        """x [T, hidden] through all layers, in place, or through none where `kept` is empty; the logits
        [rows, vocabulary] of `ends`, each of as many rows."""
        crew, sizes = team(), self.sizes
        room = self._room(len(x), crew.threads)
        fields = fields_of(type(self.head.matrix))
        rows = len(x[ends[0]]) if ends else 0
        found = _floats(rows * len(ends), self.config.vocab_size)
        parts = crew.threads if rows == 1 else 1
        normed = _floats(parts, rows, x.shape[1])
        lanes = _floats(parts, rows, padded(x.shape[1], fields))
        windows = [self.config.window(index) or EVERYTHING for index in range(len(self.layers))]

        threads = 1 if len(x) * self.weights_of_token < _WORTH_THREADS else None
        layers = [*zip(self.layers, kept, windows, strict=True)] if kept else []
        if self.streaming is not None:
            with self.streaming.step:
                for slots, each in zip(self.streaming.slots, layers, strict=False):
                    streamed_layer(crew, threads, slots, sizes, x, room, angles, each)
        whole = layers if self.streaming is None else layers[len(self.streaming.slots) :]

        def program(state: Any, part: int) -> None:
            for weights, own, window in whole:
                layer(state, part, weights, sizes, x, room, *angles, own, window)
            for index, end in enumerate(ends):
                logits = found[index * rows : (index + 1) * rows]
                head(state, part, self.head.norm, sizes.eps, fields, self.head.matrix, x[end], normed, lanes, logits)

        crew.run(program, threads)
        return found

    def _room(self, tokens: int, threads: int) -> Room:
        config, sizes = self.config, self.sizes
        parts, pairs = threads if tokens == 1 else 1, tokens * config.num_experts_per_tok
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        hidden, experts = config.hidden_size, config.num_local_experts

        return Room(
            normed=_floats(parts, tokens, hidden),
            dense_lanes=_floats(parts, tokens, padded(hidden, sizes.dense_fields)),
            expert_lanes=_floats(parts, tokens, padded(hidden, sizes.expert_fields)),
            queries=_floats(tokens, queries),
            keys=_floats(tokens, keys),
            values=_floats(tokens, keys),
            attended=_floats(tokens, padded(queries, sizes.output_fields)),
            logits=_floats(tokens, experts),
            starts=np.zeros((parts, experts + 1), np.int64),
            tokens=np.zeros((parts, pairs), np.int64),
            shares=_floats(parts, pairs),
            hidden=_floats(pairs, padded(config.intermediate_size, sizes.expert_fields)),
        )


def _floats(*shape: int) -> Floats:
    """Zeros that begin with a cache line."""
    *others, last = shape
    array: Floats = aligned(math.prod(others), last).reshape(shape)
    array[:] = 0
    return array


_beginning = threading.Lock()


def team() -> Team:
    """The threads of this process, the same for all who ask, if at once."""
    with _beginning:
        return _begun()


@cache
def _begun() -> Team:
    return Team(thread_count())
