"""Where a KV cache can go back to: the positions that are kept restorable, whatever its layers hold their keys in."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Generic, Protocol, Self, TypeVar

import mlx.core as mx

MOST_MARKS = 48
"""Positions whose windows are remembered at once."""


MOST_TOGETHER = 4
"""Tokens that may be appended together if some of them are to be taken back, without a mark."""


class Layer(Protocol):
    """What one layer holds of a sequence, as far as going back in it is concerned."""

    @property
    def capacity(self) -> int:
        """Tokens that the buffers have room for; 0 in a sliding layer."""
        ...

    def restore(self, position: int) -> None:
        """Goes back to `position`, which `can_restore`."""
        ...

    def can_restore(self, position: int) -> bool:
        """Whether all is known that the token at `position` sees."""
        ...

    def snapshot(self) -> None:
        """Keeps the present position restorable."""
        ...

    def drop(self, marks: Iterable[int]) -> None:
        """Forgets what was kept for these positions."""
        ...

    def take_back(self, count: int) -> None:
        """Forgets the newest keys, of those that were appended together last."""
        ...

    def fork(self, position: int) -> Self:
        """A layer of its own that stands at `position`, which `can_restore`."""
        ...


AnyLayer = TypeVar("AnyLayer", bound=Layer)


class Positions(Generic[AnyLayer]):
    """The layers of one sequence or batch at one common length, and where they can go back to.

    At most `most_marks` positions stay restorable.
    """

    def __init__(self, layers: Iterable[AnyLayer], most_marks: int) -> None:
        self.layers = list(layers)
        self.offset = 0
        self._marks: set[int] = set()
        self._most_marks = most_marks

    def advance(self, tokens: int) -> None:
        """Counts `tokens` as appended."""
        self.offset += tokens
        self._thin()

    def mark(self, positions: Iterable[int]) -> None:
        """Asks for these positions, not yet reached, to stay restorable, in place of those asked for before.

        It costs no extra computation.
        """
        self._marks = {mark for mark in self._marks if mark <= self.offset}
        self._marks.update(position for position in positions if position > self.offset)

    def snapshot(self) -> int:
        """Makes the present position restorable, and returns it."""
        for layer in self.layers:
            layer.snapshot()
        self._marks.add(self.offset)
        self._thin()
        return self.offset

    def restore(self, position: int) -> int:
        """Goes back to the largest restorable position up to `position`, and returns it.

        Restorable are the present position, 0, every snapshot and mark behind, and any position while the sliding
        windows have not filled.
        """
        position = self.restorable(position)
        if position < self.offset:
            for layer in self.layers:
                layer.restore(position)
            self.offset = position
            self._marks = {mark for mark in self._marks if mark <= position}
        return position

    def take_back(self, count: int = 1) -> None:
        """Forgets the newest tokens, of those that were appended together last, which were at most MOST_TOGETHER."""
        for layer in self.layers:
            layer.take_back(count)
        self.offset -= count

    def fork(self, position: int) -> Self:
        """A cache of its own at `position`, which must be restorable; this one stays as it is.

        Later appends to either don't reach the other. What both hold is shared until one of them writes there.
        """
        twin = copy(self)
        twin.layers = [layer.fork(position) for layer in self.layers]
        twin.offset = position
        twin._marks = {mark for mark in self._marks if mark <= position}
        return twin

    @property
    def capacity(self) -> int:
        """Tokens that the buffers of the full layers have room for; 0 without full layers."""
        return max((layer.capacity for layer in self.layers), default=0)

    @property
    def pieces(self) -> Mapping[object, int]:
        """What the full layers lie in, and the tokens that each piece has room for. Caches may share pieces."""
        return {id(self): self.capacity}

    def shared_by_fork(self, position: int) -> int:
        """Tokens of the full layers that a fork at `position` goes on sharing while both grow."""
        return 0

    @property
    def windows(self) -> int:
        """Windows that each sliding layer holds or may come to hold: the present one and those of the marks."""
        return 1 + min(len(self._marks), self._most_marks)

    def restorable(self, position: int) -> int:
        """Where `restore(position)` would go."""
        if position >= self.offset:
            return self.offset
        candidates = [position, *sorted((mark for mark in self._marks if mark < position), reverse=True)]
        return next((c for c in candidates if all(layer.can_restore(c) for layer in self.layers)), 0)

    def present(self) -> list[mx.array]:
        """MLX's arrays at the present position, without those of the marks."""
        return []

    def arrays(self) -> list[mx.array]:
        """All that MLX must compute for the cache to be up to date; pass it to mx.eval after a prefill chunk."""
        return []

    def _thin(self) -> None:
        """Keeps the number of remembered windows bounded: they grow sparser with their distance from the end."""
        while len(reached := sorted(mark for mark in self._marks if mark <= self.offset)) > self._most_marks:
            around = zip([0, *reached], reached, reached[1:], strict=False)
            least_missed = min(around, key=lambda m: (m[2] - m[0]) / (self.offset - m[1] + 1))[1]
            self._marks.remove(least_missed)
            for layer in self.layers:
                layer.drop([least_missed])
