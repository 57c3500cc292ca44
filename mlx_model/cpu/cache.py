"""The KV cache for compiled layers: buffers that they write and read in place, and the windows of marked positions.

In a buffer keys lie in blocks (attention.py), and block boundaries are multiples of KEY_BLOCK in the sequence too, so
that a window moves to another buffer by whole blocks. A sliding layer's buffer has room beyond its window: a new token
costs its own rows, and a copy of the window once in WINDOW_ROOM tokens. The windows of marks are copies, which are
never written again and therefore shared between forks.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_model.transformer.config import CACHE_STEP, KEY_BLOCK, WINDOW_ROOM
from mlx_model.transformer.positions import MOST_MARKS, Positions

EVERYTHING = 1 << 40
"""The window of a layer that has none."""


class Buffer(NamedTuple):
    """Keys [B, KV heads, blocks, D, KEY_BLOCK] and values [B, KV heads, positions, D] from position `origin` on.

    float32, or bfloat16 as uint16. `origin` is a multiple of KEY_BLOCK.
    """

    keys: NDArray[Any]
    values: NDArray[Any]
    origin: int = 0

    @property
    def end(self) -> int:
        """The first position that there is no room for."""
        return self.origin + int(self.values.shape[2])

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """Both."""
        return [self.keys, self.values]

    def copy(self, start: int, stop: int, room: int = 0) -> "Buffer":
        """A buffer of its own with positions `start` to `stop`, and room for more up to `room`."""
        batch, heads, _, dim, _ = self.keys.shape
        first, last = start // KEY_BLOCK, -(-stop // KEY_BLOCK)
        copied = empty(batch, heads, dim, self.keys.dtype, first * KEY_BLOCK, max(stop, room))
        from_block = first - self.origin // KEY_BLOCK
        blocks, rows = slice(from_block, from_block + last - first), slice(first * KEY_BLOCK - self.origin, None)
        copied.keys[:, :, : last - first] = self.keys[:, :, blocks]
        copied.values[:, :, : (last - first) * KEY_BLOCK] = self.values[:, :, rows][:, :, : (last - first) * KEY_BLOCK]
        return copied


def empty(batch: int, heads: int, dim: int, dtype: np.dtype[Any], origin: int, end: int) -> Buffer:
    """A buffer for positions `origin` to `end` at least; zeros, since values are multiplied by weights of nothing."""
    blocks = -(-(end - origin) // KEY_BLOCK)
    keys = np.zeros((batch, heads, blocks, dim, KEY_BLOCK), dtype)
    return Buffer(keys, np.zeros((batch, heads, blocks * KEY_BLOCK, dim), dtype), origin)


class Shape(NamedTuple):
    """What a layer's buffers are made of: KV heads, D, the dtype of a number."""

    kv_heads: int
    head_dim: int
    dtype: np.dtype[Any]


class FullLayer:
    """Every key and value of a sequence."""

    window = EVERYTHING

    def __init__(self, shape: Shape) -> None:
        self.length = 0
        self._shape = shape
        self._buffer: Buffer | None = None

    def extend(self, batch: int, tokens: int) -> Buffer:
        """Makes room for so many more tokens, which the caller writes, and counts them."""
        end = self.length + tokens
        if self._buffer is None or end > self._buffer.end:
            room = -(-end // CACHE_STEP) * CACHE_STEP
            kept = self._buffer or empty(batch, *self._shape, 0, 0)
            self._buffer = kept.copy(0, self.length, room)
        self.length = end
        return self._buffer

    def keep(self, marks: Iterable[int], before: int) -> None:
        """See SlidingLayer: every position can be gone back to."""

    def snapshot(self) -> None:
        """See SlidingLayer."""

    def can_restore(self, position: int) -> bool:
        """See SlidingLayer."""
        return True

    def drop(self, marks: Iterable[int]) -> None:
        """See SlidingLayer."""

    def restore(self, position: int) -> None:
        """Forgets everything from `position` on."""
        self.length = position

    def take_back(self, count: int) -> None:
        """Forgets the newest keys."""
        self.length -= count

    def fork(self, position: int) -> "FullLayer":
        """A layer of its own with copies of the first `position` keys."""
        twin = FullLayer(self._shape)
        if self._buffer is not None and position:
            room = -(-position // CACHE_STEP) * CACHE_STEP
            twin.length, twin._buffer = position, self._buffer.copy(0, position, room)
        return twin

    @property
    def capacity(self) -> int:
        """Tokens that the buffer has room for."""
        return 0 if self._buffer is None else self._buffer.end

    def arrays(self) -> list[NDArray[Any]]:
        """All that is held."""
        return [] if self._buffer is None else self._buffer.arrays


class SlidingLayer:
    """Keys and values of a layer whose queries see `window` keys, themselves included."""

    capacity = 0

    def __init__(self, shape: Shape, window: int) -> None:
        self.length = 0
        self.window = window
        self._shape = shape
        self._buffer: Buffer | None = None
        self._is_shared = False
        self._marked: dict[int, Buffer] = {}

    def extend(self, batch: int, tokens: int) -> Buffer:
        """See FullLayer."""
        end = self.length + tokens
        if self._buffer is None or self._is_shared or end > self._buffer.end:
            start = self._start(self.length)
            kept = self._buffer or empty(batch, *self._shape, 0, 0)
            self._buffer = kept.copy(start, self.length, max(end, self.length + WINDOW_ROOM))
            self._is_shared = False
        self.length = end
        return self._buffer

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
        if not self._holds(position):
            self._buffer, self._is_shared = self._marked.get(position), True
        self.length = position
        self.drop([mark for mark in self._marked if mark > position])

    def take_back(self, count: int) -> None:
        """Forgets the newest keys, of those that were appended together last."""
        self.length -= count

    def drop(self, marks: Iterable[int]) -> None:
        """Forgets the windows of these marks."""
        for mark in marks:
            self._marked.pop(mark, None)

    def fork(self, position: int) -> "SlidingLayer":
        """A layer of its own that stands at `position`, which `can_restore`."""
        twin = SlidingLayer(self._shape, self.window)
        twin._marked = {mark: window for mark, window in self._marked.items() if mark <= position}
        twin.length, twin._buffer, twin._is_shared = position, self._marked.get(position), True
        if twin._buffer is None and self._buffer is not None and position:
            twin._buffer = self._buffer.copy(self._start(position), position)
        return twin

    def arrays(self) -> list[NDArray[Any]]:
        """All that is held."""
        held = [*self._marked.values(), *([] if self._buffer is None else [self._buffer])]
        return [array for buffer in held for array in buffer.arrays]

    def _start(self, position: int) -> int:
        """The oldest key that the token at `position` sees."""
        return max(0, position - self.window + 1)

    def _holds(self, position: int) -> bool:
        """Whether the buffer has the window at `position`."""
        return position <= self.length and self._buffer is not None and self._buffer.origin <= self._start(position)

    def _mark(self, position: int) -> None:
        if self._buffer is not None:
            self._marked[position] = self._buffer.copy(self._start(position), position)


class CompiledCache(Positions[FullLayer | SlidingLayer]):
    """The KV caches of all layers, at one common length; see Positions.

    `windows` gives each layer's window, None for full attention.
    """

    def __init__(self, windows: Iterable[int | None], shape: Shape, *, most_marks: int = MOST_MARKS) -> None:
        layers = (FullLayer(shape) if window is None else SlidingLayer(shape, window) for window in windows)
        super().__init__(layers, most_marks)

    @property
    def windows_of_layers(self) -> list[int]:
        """Keys that a query sees at most, by layer."""
        return [layer.window for layer in self.layers]

    def extend(self, batch: int, tokens: int) -> list[Buffer]:
        """Room in every layer for so many tokens of each of `batch` sequences, to be written; `advance` must follow."""
        return [layer.extend(batch, tokens) for layer in self.layers]

    def advance(self, tokens: int) -> None:
        """Counts `tokens`, which have been written to all layers."""
        for layer in self.layers:
            layer.keep(self._marks, self.offset)
        super().advance(tokens)
