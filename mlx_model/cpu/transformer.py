"""The gpt-oss transformer on a CPU: token ids to logits by compiled layers, over weights that lie in mapped files."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_model.cpu.cache import CompiledCache, Shape
from mlx_model.cpu.compiling import compile_for
from mlx_model.cpu.kernels.formats import fields_of
from mlx_model.cpu.kernels.lanes import padded
from mlx_model.cpu.kernels.panels import aligned
from mlx_model.cpu.kernels.sharing import new_state
from mlx_model.cpu.layer import Layer, Room, Sizes, head, layer
from mlx_model.cpu.threads import Team, thread_count
from mlx_model.transformer.compute import Compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.embedding import Embedding
from mlx_model.transformer.positions import MOST_MARKS
from mlx_model.transformer.rope import RopeTable, score_scale

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
    """

    config: ModelConfig
    compute: Compute
    embedding: Embedding
    layers: list[Layer]
    head: Head
    check_files: Callable[[], None]
    decoder: None = None
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
        """See Transformer; `cache` is one of make_cache's. Sequences are computed one after the other."""
        self.check_files()
        caches: Sequence[CompiledCache] = [cache] if isinstance(cache, CompiledCache) else cache
        batch, count = tokens.shape
        x = _floats(batch, count, self.config.hidden_size)
        x[:] = self.embedding(tokens)
        found = np.empty((batch, {"all": count, "last": 1, "none": 0}[logits], self.config.vocab_size), np.float32)
        self._step(x, caches, found, logits)
        return mx.array(x if logits == "none" else found)

    def through(self, rows: mx.array, caches: Sequence[CompiledCache]) -> mx.array:
        """See Transformer."""
        self.check_files()
        x = _floats(*rows.shape)
        x[:] = rows
        self._step(x, caches, np.empty((len(x), 0, 0), np.float32), "none")
        return mx.array(x)

    def logits(self, rows: mx.array, *, decoded: bool = False) -> mx.array:
        """See Transformer."""
        x = _floats(*rows.shape)
        x[:] = rows
        found = np.empty((*rows.shape[:2], self.config.vocab_size), np.float32)
        for row in range(len(x)):
            self._sequence(x[row], self.rope.at(0, 1), None, found[row])
        return mx.array(found)

    def _step(self, x: Floats, caches: Sequence[CompiledCache], found: Floats, logits: str) -> None:
        """x [B, T, hidden] through all layers, in place, and of each sequence the logits that are asked for."""
        each = x.shape[1] // len(caches)
        batch, count = x.shape[:2]
        for index, one in enumerate(caches):
            start, stop = index * each, (index + 1) * each
            wanted = slice(start, stop) if logits == "all" else slice(0, 1 if stop == count and logits == "last" else 0)
            angles, position = self.rope.at(one.offset, each), one.offset
            buffers = one.extend(batch, each)
            for row in range(batch):
                cached = [
                    ((buffer.keys[row], buffer.values[row]), position - buffer.origin, window)
                    for buffer, window in zip(buffers, one.windows_of_layers, strict=True)
                ]
                self._sequence(x[row, start:stop], angles, cached, found[row, wanted])
            one.advance(each)

    def compile(self, dtype: mx.Dtype | None) -> None:
        """Compiles what a step runs with a cache of this dtype, or reads what was compiled before.

        Once, and before the threads of a step would do so, one waiting for the other.
        """
        if dtype in self._compiled:
            return
        self._compiled.add(dtype)
        position = self._cache(1, dtype).extend(1, 1)[0]
        room, (cosines, sines), cached = self._room(1, 1), self.rope.at(0, 1), (position.keys[0], position.values[0])
        x, sizes, state = room.normed[0], self.sizes, new_state(1)
        heads = (self.head.norm, sizes.eps, sizes.dense_fields, self.head.matrix)
        compile_for(head, state, 0, *heads, x, room.normed, room.dense_lanes, room.logits)
        for each in self.layers:
            compile_for(layer, state, 0, each, sizes, x, room, cosines, sines, cached, 0, 1)

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

    def _sequence(self, x: Floats, angles: tuple[Floats, Floats], cached: list[Any] | None, logits: Floats) -> None:
        """x [T, hidden] through all layers, in place, unless there is None for their caches; then the last rows of it
        to logits [rows, vocabulary]."""
        crew, sizes = team(), self.sizes
        room = self._room(len(x), crew.threads)
        end = x[len(x) - len(logits) :]
        fields = fields_of(type(self.head.matrix))
        parts = crew.threads if len(end) == 1 else 1
        normed = _floats(parts, *end.shape)
        lanes = _floats(parts, len(end), padded(x.shape[1], fields))

        def program(state: Any, part: int) -> None:
            for weights, (buffers, at, window) in zip(self.layers, cached, strict=True) if cached is not None else ():
                layer(state, part, weights, sizes, x, room, *angles, buffers, at, window)
            if len(end):
                head(state, part, self.head.norm, sizes.eps, fields, self.head.matrix, end, normed, lanes, logits)

        crew.run(program, 1 if len(x) * self.weights_of_token < _WORTH_THREADS else None)

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


@cache
def team() -> Team:
    """The threads of this process."""
    return Team(thread_count())
