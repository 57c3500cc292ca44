"""A transformer whose last layers are elsewhere: the first ones here, as are embedding, output matrix and bookkeeping.

What is elsewhere follows what is done here, in the same order: it has the same marks at the same positions. So where a
cache can go back to is decided by the layers here alone, of which there has to be one of each kind.
"""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import mlx.core as mx

from mlx_model.transformer.compute import Compute
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.embedding import Embedding
from mlx_model.transformer.positions import MOST_MARKS

Wanted = Literal["all", "last", "none"]


class Further(Protocol):
    """The layers behind those that are here, and their KV caches, each known by a number."""

    @property
    def connection(self) -> int:
        """Another number after each loss of what they hold."""
        ...

    @property
    def away_s(self) -> tuple[float, float]:
        """Seconds so far that was computed there, and that rows were on their way."""
        ...

    def make_cache(self, most_marks: int) -> int:
        """The number of a new cache."""
        ...

    def fork(self, cache: int, position: int) -> int:
        """The number of a fork: see Positions."""
        ...

    def drop(self, cache: int) -> None:
        """Forgets a cache. May be called in any thread, at any time."""
        ...

    def tell(self, cache: int, operation: str, *values: int) -> None:
        """Has a cache do what its part here has done: see Positions."""
        ...

    def __call__(self, x: mx.array, places: Sequence[tuple[int, int]], wanted: Wanted) -> mx.array | None:
        """Rows [B, T, hidden] through the layers; returns as many as are wanted.

        `places` are the caches that they join in equal shares, each with the position that it has before that.
        """
        ...


class FirstLayers(Protocol):
    """What is here: see blocks.Transformer, which is that of all layers."""

    config: ModelConfig
    compute: Compute
    embedding: Embedding

    def make_cache(self, *, most_marks: int = ..., dtype: mx.Dtype | None = ...) -> Any: ...

    def through(self, x: mx.array, caches: Sequence[Any], /) -> mx.array: ...

    def logits(self, x: mx.array, /, *, decoded: bool) -> mx.array: ...


class StagedCache:
    """The KV cache of all layers, as Positions: the part that is `here` says where it can go back to."""

    def __init__(self, here: Any, further: Further, number: int) -> None:
        self.here = here
        self.number = number
        self._further = further
        self._connection = further.connection
        weakref.finalize(self, further.drop, number)

    @property
    def offset(self) -> int:
        """See Positions."""
        return int(self.here.offset)

    @property
    def capacity(self) -> int:
        """See Positions."""
        return int(self.here.capacity)

    @property
    def windows(self) -> int:
        """See Positions."""
        return int(self.here.windows)

    def restorable(self, position: int) -> int:
        """See Positions; 0 once the part elsewhere is lost."""
        return int(self.here.restorable(position)) if self._further.connection == self._connection else 0

    def mark(self, positions: Sequence[int]) -> None:
        """See Positions."""
        self.here.mark(positions)
        self._further.tell(self.number, "mark", *positions)

    def snapshot(self) -> int:
        """See Positions."""
        self._further.tell(self.number, "snapshot")
        return int(self.here.snapshot())

    def restore(self, position: int) -> int:
        """See Positions."""
        before, position = self.offset, int(self.here.restore(position))
        if position < before:
            self._further.tell(self.number, "restore", position)
        return position

    def take_back(self, count: int = 1) -> None:
        """See Positions."""
        self.here.take_back(count)
        self._further.tell(self.number, "take_back", count)

    def fork(self, position: int) -> "StagedCache":
        """See Positions."""
        number = self._further.fork(self.number, position)
        return StagedCache(self.here.fork(position), self._further, number)

    @property
    def pieces(self) -> Mapping[object, int]:
        """See Positions."""
        found: Mapping[object, int] = self.here.pieces
        return found

    def shared_by_fork(self, position: int) -> int:
        """See Positions."""
        return int(self.here.shared_by_fork(position))

    def present(self) -> list[mx.array]:
        """See Positions."""
        found: list[mx.array] = self.here.present()
        return found

    def arrays(self) -> list[mx.array]:
        """See Positions."""
        found: list[mx.array] = self.here.arrays()
        return found


@dataclass(slots=True)
class StagedTransformer:
    """What blocks.Transformer is. `here` holds the first layers, `further` stands for the others.

    Rows are handed on between two evaluations, so that no GPU ever waits for a network.
    """

    config: ModelConfig
    compute: Compute
    here: FirstLayers
    further: Further
    decoder: None = None
    streaming: None = None

    @property
    def embedding(self) -> Embedding:
        """That of the layers here."""
        return self.here.embedding

    def make_cache(self, *, most_marks: int = MOST_MARKS, dtype: mx.Dtype | None = None) -> StagedCache:
        """See Transformer."""
        number = self.further.make_cache(most_marks)
        return StagedCache(self.here.make_cache(most_marks=most_marks, dtype=dtype), self.further, number)

    def __call__(self, tokens: mx.array, cache: Any, logits: Wanted = "all") -> mx.array:
        """See Transformer; `cache` is one of make_cache's, or several.

        With "none" the result is what the layers here hand on: those elsewhere may still be at it.
        """
        caches: Sequence[StagedCache] = [cache] if isinstance(cache, StagedCache) else cache
        places = [(each.number, each.offset) for each in caches]
        x = self.here.through(self.here.embedding(tokens), [each.here for each in caches])
        rows = self.further(x, places, logits)
        return x if rows is None else self.here.logits(rows, decoded=tokens.size == 1)
