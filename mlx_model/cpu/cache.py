"""The KV cache for compiled layers: blocks of positions, which caches that begin alike have in common.

A layer is a list of blocks (attention.py). Compiled layers write the newest one in place; one that is full is never
written again. So a fork, and the window that is kept for a mark, are lists of the same blocks, and copy nothing. The
last block of such a list may be half full: whoever writes into it first copies that one. A sliding layer forgets the
blocks that its window has left.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_model.cpu.attention import Cached
from mlx_model.transformer.config import KEY_BLOCK
from mlx_model.transformer.positions import MOST_MARKS, Positions

EVERYTHING = 1 << 40
"""The window of a layer that has none."""


class Shape(NamedTuple):
    """What a layer's blocks are made of: KV heads, D, the dtype of a number."""

    kv_heads: int
    head_dim: int
    dtype: np.dtype[Any]


class Block(NamedTuple):
    """Keys and values [B, 2, KV heads, D * KEY_BLOCK] of KEY_BLOCK positions, and the address where they begin."""

    numbers: NDArray[Any]
    address: int

    @classmethod
    def of(cls, numbers: NDArray[Any]) -> "Block":
        """One that holds these."""
        return cls(numbers, numbers.ctypes.data)


class Window(NamedTuple):
    """Blocks of a sequence, of which the first is its block number `first`."""

    first: int
    blocks: list[Block]


class CachedLayer:
    """Keys and values of a layer whose queries see `window` keys, themselves included."""

    def __init__(self, shape: Shape, window: int) -> None:
        self.length = 0
        self.window = window
        self._shape = shape
        self._held = Window(0, [])
        self._own = 0
        """The number of the first block that nobody else has."""
        self._marked: dict[int, Window] = {}

    @property
    def origin(self) -> int:
        """The position of the first block."""
        return self._held.first * KEY_BLOCK

    @property
    def addresses(self) -> list[int]:
        """Of the blocks."""
        return [block.address for block in self._held.blocks]

    @property
    def number(self) -> Any:
        """A 0 as it is kept."""
        return self._shape.dtype.type(0)

    @property
    def sequence_bytes(self) -> int:
        """From one sequence of the batch to the next, in a block."""
        kv_heads, dim, dtype = self._shape
        return 2 * kv_heads * dim * KEY_BLOCK * dtype.itemsize

    def extend(self, batch: int, tokens: int) -> None:
        """Makes room for so many more tokens, which the caller writes, and counts them."""
        number = self.length // KEY_BLOCK
        self._held = first, blocks = self._cut(self._held, self.length)
        if first + len(blocks) > number and self._own > number:
            blocks[-1] = Block.of(blocks[-1].numbers.copy())
        self._own = min(self._own, number)
        self.length += tokens
        while (first + len(blocks)) * KEY_BLOCK < self.length:
            # Zeros, since values are multiplied by weights of nothing.
            kv_heads, dim, dtype = self._shape
            blocks.append(Block.of(np.zeros((batch, 2, kv_heads, dim * KEY_BLOCK), dtype)))

    def keep(self, marks: Iterable[int], before: int) -> None:
        """Remembers the windows at those marks that lie behind `before`, whose keys have been written by now."""
        for mark in marks:
            if before < mark <= self.length:
                self._mark(mark)

    def snapshot(self) -> None:
        """Keeps the present window."""
        self._mark(self.length)

    def can_restore(self, position: int) -> bool:
        """Whether the window at `position` is known: kept, or nothing has left the window yet."""
        return position in self._marked or position == 0 or self.length < self.window

    def restore(self, position: int) -> None:
        """Goes back to `position`, which `can_restore`."""
        self._held, self.length = self._at(position), position
        self._own = max(self._own, _blocks(position))
        self.drop([mark for mark in self._marked if mark > position])

    def take_back(self, count: int) -> None:
        """Forgets the newest keys, of those that were appended together last."""
        self.length -= count

    def drop(self, marks: Iterable[int]) -> None:
        """Forgets the windows of these marks."""
        for mark in marks:
            self._marked.pop(mark, None)

    def fork(self, position: int) -> "CachedLayer":
        """A layer of its own that stands at `position`, which `can_restore`. It has the same blocks."""
        twin = CachedLayer(self._shape, self.window)
        twin._marked = {mark: window for mark, window in self._marked.items() if mark <= position}
        twin.length, twin._held = position, self._at(position)
        self._own = twin._own = max(self._own, _blocks(position))
        return twin

    @property
    def capacity(self) -> int:
        """Tokens that the blocks have room for; 0 in a sliding layer."""
        return len(self._held.blocks) * KEY_BLOCK if self.window == EVERYTHING else 0

    def _oldest(self, position: int) -> int:
        """The oldest key that the token at `position` sees."""
        return max(0, position - self.window + 1)

    def _at(self, position: int) -> Window:
        """What the token at `position` sees, which `can_restore`."""
        if position <= self.length and self.origin <= self._oldest(position):
            return self._cut(self._held, position)
        return self._marked.get(position, Window(0, []))

    def _cut(self, window: Window, position: int) -> Window:
        """The blocks of what the token at `position` sees, in a list of their own."""
        first = self._oldest(position) // KEY_BLOCK
        return Window(first, window.blocks[first - window.first : _blocks(position) - window.first])

    def _mark(self, position: int) -> None:
        if self.window < EVERYTHING:
            self._marked[position] = self._cut(self._held, position)
            self._own = max(self._own, _blocks(position))


def _blocks(position: int) -> int:
    """In how many blocks the keys before `position` lie."""
    return -(-position // KEY_BLOCK)


class CompiledCache(Positions[CachedLayer]):
    """The KV caches of all layers, at one common length; see Positions.

    `windows` gives each layer's window, None for full attention.
    """

    def __init__(self, windows: Iterable[int | None], shape: Shape, *, most_marks: int = MOST_MARKS) -> None:
        layers = (CachedLayer(shape, EVERYTHING if window is None else window) for window in windows)
        super().__init__(layers, most_marks)

    def extend(self, batch: int, tokens: int) -> None:
        """Room in every layer for so many tokens of each of `batch` sequences, to be written; `advance` must follow."""
        for layer in self.layers:
            layer.extend(batch, tokens)

    def advance(self, tokens: int) -> None:
        """Counts `tokens`, which have been written to all layers."""
        for layer in self.layers:
            layer.keep(self._marks, self.offset)
        super().advance(tokens)

    @property
    def pieces(self) -> Mapping[object, int]:
        """See Positions: blocks of the full layers, all of which forks have in common."""
        full = next((layer for layer in self.layers if layer.window == EVERYTHING), None)
        return {} if full is None else dict.fromkeys(full.addresses, KEY_BLOCK)

    def shared_by_fork(self, position: int) -> int:
        """See Positions: all but the last block, into which the fork writes."""
        return position // KEY_BLOCK * KEY_BLOCK


def cached(caches: Sequence[CompiledCache], batch: int, index: int, tokens: int) -> Cached:
    """Where layer number `index` of these caches has its keys and values: the caches' in their order, `batch` times.

    Their newest `tokens` are still to be written.
    """
    layers = [cache.layers[index] for cache in caches]
    tables = np.zeros((batch, len(layers), max(len(layer.addresses) for layer in layers)), np.int64)
    for at, layer in enumerate(layers):
        steps = np.arange(batch)[:, None] * layer.sequence_bytes
        tables[:, at, : len(layer.addresses)] = np.array(layer.addresses) + steps
    places = np.tile([layer.length - tokens - layer.origin for layer in layers], batch)
    return Cached(tables.reshape(len(places), -1), places, layers[0].number)
