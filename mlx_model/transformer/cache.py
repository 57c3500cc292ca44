"""The KV cache: full and sliding layers, with windows remembered at chosen positions so that it can be rewound.

A full layer keeps every key, so rewinding it is forgetting its end. A sliding layer keeps only what its window can
still see; once older keys are gone, rewinding needs the window as it was then. Marked positions keep that window: 12
layers of 127 keys, 3 MiB in bfloat16 for gpt-oss-20b.

MLX's own attention takes one buffer of all keys, which is written in place. In place is up to MLX: where anything else
still holds the buffer, such as a command buffer that has not ended, MLX copies all of it: 1.6 GB of traffic a token at
32k tokens of gpt-oss-20b. The kernels therefore read a full layer from three buffers (`append_spans`): a frozen one, a
tail of CACHE_STEP keys, and the new keys where they were computed, which go into the tail with the next token. A full
tail is joined to the frozen part; what MLX may have to copy in between is a tail.

A sliding layer makes its next window by joining the last one with the new keys, while attention reads the two where
they are. So a remembered window is a reference, not a copy, there is no ring to wrap or rotate, and keys always stand
in order.
"""

from collections.abc import Iterable
from dataclasses import replace

import mlx.core as mx

from metal.spans import Span, joined
from mlx_model.transformer.config import CACHE_STEP
from mlx_model.transformer.positions import MOST_MARKS, MOST_TOGETHER, Positions


class FullLayer:
    """Keys and values of a layer that sees everything: frozen ones, those of the tail, the newest."""

    def __init__(self) -> None:
        self.length = 0
        self._frozen: Span | None = None
        self._tail: Span | None = None
        self._newest: Span | None = None
        self._borrows = False  # the frozen part's buffer is another layer's, in which it may have more keys

    def append(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Adds keys and values [B, KV heads, T, head_dim]; returns all of them up to the newest, in one buffer."""
        self._freeze()
        self._join(Span(keys, values, keys.shape[2]))
        assert self._frozen is not None
        self.length = self._frozen.count
        return self._frozen.view()

    def append_spans(self, newest: Span) -> tuple[Span, ...]:
        """As `append`, for at most CACHE_STEP tokens, but returns all of them as they lie: up to three spans."""
        self._write_newest()
        self._newest = newest
        self.length += newest.count
        return tuple(span for span in (self._frozen, self._tail, self._newest) if span is not None and span.count)

    def _write_newest(self) -> None:
        """Puts the newest keys into the tail, which is joined to the frozen part if they don't fit."""
        newest, self._newest = self._newest, None
        if newest is None:
            return
        if self._tail is not None and self._tail.count + newest.count > CACHE_STEP:
            self._freeze()
        self._tail = _written(self._tail, newest)

    def _freeze(self) -> None:
        """Joins the tail and the newest keys to the frozen part."""
        for span in (self._tail, self._newest):
            if span is not None:
                self._join(span)
        self._tail = self._newest = None

    def _join(self, span: Span) -> None:
        """Puts keys behind those of the frozen part, in a buffer of its own."""
        if self._borrows and self._frozen is not None:
            self._frozen = Span(*self._frozen.view(), self._frozen.count)  # full, so that it is copied to grow
        self._frozen, self._borrows = _written(self._frozen, span), False

    def restore(self, position: int) -> None:
        """Forgets everything from `position` on."""
        self._write_newest()
        frozen = min(position, _count(self._frozen))
        self._frozen = None if self._frozen is None else replace(self._frozen, count=frozen)
        self._tail = None if self._tail is None else replace(self._tail, count=position - frozen)
        self.length = position

    def take_back(self, count: int) -> None:
        """See Layer."""
        if self._newest is None:
            self.restore(self.length - count)
        else:
            left = self._newest.count - count
            self._newest = replace(self._newest, count=left) if left else None
            self.length -= count

    def fork(self, position: int) -> "FullLayer":
        """A layer of its own that holds the first `position` keys, in the same buffer until it adds any to the frozen
        part. The tail's are copied."""
        self._write_newest()
        twin = FullLayer()
        twin.length, twin._borrows = position, True
        frozen = min(position, _count(self._frozen))
        if self._frozen is not None and frozen:
            # Objects of its own: MLX writes in place to the object, and copies what another one has as well.
            twin._frozen = Span(self._frozen.keys[:], self._frozen.values[:], frozen)
        if self._tail is not None and position > frozen:
            keys, values = (mx.contiguous(array) for array in replace(self._tail, count=position - frozen).view())
            twin._tail = Span(keys, values, position - frozen)
        return twin

    @property
    def capacity(self) -> int:
        """Tokens that the buffers have room for."""
        frozen = 0 if self._frozen is None else self._frozen.count if self._borrows else self._frozen.keys.shape[2]
        return frozen + (0 if self._tail is None else self._tail.keys.shape[2])

    def present(self) -> list[mx.array]:
        """The buffers, and the newest keys and values."""
        spans = (self._frozen, self._tail, self._newest)
        return [array for span in spans if span is not None for array in (span.keys, span.values)]

    def marked(self) -> list[mx.array]:
        """See SlidingLayer: nothing is held for a mark."""
        return []

    def snapshot(self) -> None:
        """See SlidingLayer: every position can be gone back to."""

    def can_restore(self, position: int) -> bool:
        """See SlidingLayer."""
        return True

    def drop(self, marks: Iterable[int]) -> None:
        """See SlidingLayer."""


def _count(span: Span | None) -> int:
    return 0 if span is None else span.count


def _written(span: Span | None, added: Span) -> Span:
    """The keys of both, from the start of the first one's buffer on, which grows if needed."""
    keys, values = (None, None) if span is None else (span.keys, span.values)
    more_keys, more_values = added.view()
    count = _count(span)
    return Span(_put(keys, more_keys, count), _put(values, more_values, count), count + added.count)


def _put(buffer: mx.array | None, rows: mx.array, start: int) -> mx.array:
    """`buffer` with `rows` at `start`, grown if needed. MLX writes in place when the buffer has no other reference."""
    end = start + rows.shape[2]
    if buffer is None or end > buffer.shape[2]:
        batch, heads, _, dim = rows.shape
        grown = mx.zeros((batch, heads, -(-end // CACHE_STEP) * CACHE_STEP, dim), rows.dtype)
        if buffer is not None:
            grown[:, :, :start] = buffer[:, :, :start]
        buffer = grown
    buffer[:, :, start:end] = rows
    return buffer


class SlidingLayer:
    """Keys and values of a layer whose queries see `window` keys, themselves included."""

    capacity = 0

    def __init__(self, window: int) -> None:
        self.length = 0
        self._kept = window - 1
        self._window: Span | None = None
        self._marked: dict[int, Span] = {}

    def append(self, keys: mx.array, values: mx.array, marks: Iterable[int]) -> tuple[mx.array, mx.array]:
        """Adds keys and values [B, KV heads, T, head_dim]; returns the up to window - 1 before them, and them.

        Keeps the windows of those `marks` that these keys reach.
        """
        end = self.length + keys.shape[2]
        if self._window is not None:
            keys, values = joined((self._window, Span(keys, values, keys.shape[2])))
        first = end - keys.shape[2]
        for mark in marks:
            if self.length < mark <= end:
                self._marked[mark] = self._cut(keys, values, mark - first)
        self._window = self._cut(keys, values, end - first)
        self.length = end
        return keys, values

    def append_spans(self, newest: Span, marks: Iterable[int]) -> tuple[Span, ...]:
        """As `append`, but returns the keys and values before these, and these, as they lie."""
        spans = (self._window, newest)
        self.append(*newest.view(), marks)
        return tuple(span for span in spans if span is not None and span.count)

    def _cut(self, keys: mx.array, values: mx.array, end: int) -> Span:
        start = max(0, end - self._kept)
        window = Span(keys, values, end - start, start)
        if keys.shape[2] > 2 * max(self._kept, MOST_TOGETHER):
            # Copied out of a prefill chunk, so that a slice of it doesn't keep the whole chunk alive.
            keys, values = (mx.contiguous(array) for array in window.view())
            return Span(keys, values, end - start)
        return window

    def take_back(self, count: int) -> None:
        """See Layer. The window is part of the keys that were joined for it, which go as far back as is needed."""
        self.length -= count
        if (window := self._window) is not None:
            end = window.start + window.count - count
            start = max(0, end - self._kept)
            self._window = replace(window, count=end - start, start=start) if end else None

    def snapshot(self) -> None:
        """Keeps the present window."""
        if self._window is not None:
            self._marked[self.length] = self._window

    def can_restore(self, position: int) -> bool:
        """Whether the window at `position` is known: kept, or nothing has left the window yet."""
        return position in self._marked or position == 0 or self.length <= self._kept

    def restore(self, position: int) -> None:
        """Goes back to `position`, which `can_restore`."""
        if position in self._marked:
            self._window = self._marked[position]
        elif self._window is not None:
            self._window = replace(self._window, count=position) if position else None
        self.length = position
        self.drop([mark for mark in self._marked if mark > position])

    def drop(self, marks: Iterable[int]) -> None:
        """Forgets the windows of these marks."""
        for mark in marks:
            self._marked.pop(mark, None)

    def fork(self, position: int) -> "SlidingLayer":
        """A layer of its own that stands at `position`, which `can_restore`. Windows are shared, not copied."""
        twin = SlidingLayer(self._kept + 1)
        twin.length, twin._window, twin._marked = self.length, self._window, dict(self._marked)
        if position < self.length:
            twin.restore(position)
        return twin

    def present(self) -> list[mx.array]:
        """The present window."""
        return [] if self._window is None else [self._window.keys, self._window.values]

    def marked(self) -> list[mx.array]:
        """The windows of all marks."""
        return [array for window in self._marked.values() for array in (window.keys, window.values)]


class Cache(Positions[FullLayer | SlidingLayer]):
    """The KV caches of all layers in MLX's arrays; see Positions.

    `windows` gives each layer's window, None for full attention. Keys and values are kept in `dtype`, by default their
    own, and handed out in their own.
    """

    def __init__(
        self, windows: Iterable[int | None], *, most_marks: int = MOST_MARKS, dtype: mx.Dtype | None = None
    ) -> None:
        super().__init__((FullLayer() if window is None else SlidingLayer(window) for window in windows), most_marks)
        self._dtype = dtype

    def append(self, layer: int, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Adds keys and values [B, KV heads, T, head_dim] to a layer; returns what the new queries may see.

        `advance` must follow once every layer has taken its part.
        """
        dtype, kept = keys.dtype, self._dtype or keys.dtype
        keys, values = keys.astype(kept), values.astype(kept)
        store = self.layers[layer]
        if isinstance(store, SlidingLayer):
            keys, values = store.append(keys, values, self._marks)
        else:
            keys, values = store.append(keys, values)
        return keys.astype(dtype), values.astype(dtype)

    def append_spans(self, layer: int, newest: Span) -> tuple[Span, ...]:
        """As `append`, for a kernel: keys and values where they lie, in their order, up to three spans.

        They are in the cache's own dtype, which a kernel may read as it is. At most CACHE_STEP tokens at once.
        """
        kept = self._dtype or newest.keys.dtype
        newest = replace(newest, keys=newest.keys.astype(kept), values=newest.values.astype(kept))
        store = self.layers[layer]
        if isinstance(store, SlidingLayer):
            return store.append_spans(newest, self._marks)
        return store.append_spans(newest)

    def present(self) -> list[mx.array]:
        """See Positions: keys and values."""
        return [array for layer in self.layers for array in layer.present()]

    def arrays(self) -> list[mx.array]:
        """See Positions."""
        return self.present() + [array for layer in self.layers for array in layer.marked()]
