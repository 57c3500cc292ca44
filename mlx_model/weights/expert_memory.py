"""The memory of a streamed layer's experts, as slots for MLX or as places for the CPU's compiled layers."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlx_model.errors import BudgetError
from mlx_model.memory.sizes import memory_size
from mlx_model.weights.experts_on_disk import Bytes, Disk, Part, Reading


@dataclass(frozen=True, slots=True)
class SlotMemory:
    """A slots.Store: each part's bytes uint8 [slots, nbytes], which are those of an MLX array, and of each matrix the
    biases of all experts [E, nbytes], which are copied beside it [slots, nbytes]."""

    disk: Disk
    parts: Sequence[tuple[Part, Bytes]]
    biases: Sequence[tuple[Bytes, Bytes]]

    def read(self, places: Sequence[tuple[int, int]]) -> Reading:
        """See Store."""
        for expert, slot in places:
            for every, in_slots in self.biases:
                in_slots[slot] = every[expert]
        return self.disk.read([(part, expert, memory[slot]) for expert, slot in places for part, memory in self.parts])

    def drop(self, expert: int) -> None:
        """See Store: its slot is used again."""

    def with_parts_of(self, other: "SlotMemory") -> "SlotMemory":
        """The memory of two matrices."""
        return SlotMemory(self.disk, [*self.parts, *other.parts], [*self.biases, *other.biases])


class Place:
    """Addresses for a part of every expert, of which only those take memory that were written and not dropped.

    The compiled layers find an expert by its number; so no expert moves, and nothing is different for them.
    """

    def __init__(self, experts: int, nbytes: int) -> None:
        try:
            self._map = mmap.mmap(-1, experts * nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, ValueError) as error:
            raise BudgetError(
                f"the system gives no {memory_size(experts * nbytes)} of addresses for a layer's experts ({error})"
            ) from None
        self.memory = np.frombuffer(self._map, np.uint8).reshape(experts, nbytes)

    def drop(self, expert: int) -> None:
        """Gives an expert's memory back, in whole pages."""
        nbytes, page = self.memory.shape[1], mmap.PAGESIZE
        start, end = -(-expert * nbytes // page) * page, (expert + 1) * nbytes // page * page
        if end > start:
            self._map.madvise(mmap.MADV_DONTNEED, start, end - start)


@dataclass(frozen=True, slots=True)
class PlaceMemory:
    """A slots.Store: each part has a place."""

    disk: Disk
    parts: Sequence[tuple[Part, Place]]

    def read(self, places: Sequence[tuple[int, int]]) -> Reading:
        """See Store; slots are only counted."""
        experts = [expert for expert, _ in places]
        return self.disk.read([(part, each, place.memory[each]) for each in experts for part, place in self.parts])

    def drop(self, expert: int) -> None:
        """See Store."""
        for _, place in self.parts:
            place.drop(expert)
