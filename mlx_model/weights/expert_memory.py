"""The memory of a streamed layer's slots.

Its pages are written over and never given back: the system clears pages that it gives anew, which takes four times as
long as reading an expert from the page cache into pages that are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlx_model.weights.experts_on_disk import Bytes, Disk, Part, Reading


@dataclass(frozen=True, slots=True)
class SlotMemory:
    """A slots.Store: each part's bytes uint8 [slots, nbytes], which are those of an array that is computed with. MLX
    wants each matrix' biases beside it: those of all experts [E, nbytes] are copied to [slots, nbytes]."""

    disk: Disk
    parts: Sequence[tuple[Part, Bytes]]
    biases: Sequence[tuple[Bytes, Bytes]] = ()

    def read(self, places: Sequence[tuple[int, int]]) -> Reading:
        """See Store."""
        for expert, slot in places:
            for every, in_slots in self.biases:
                in_slots[slot] = every[expert]
        return self.disk.read([(part, expert, memory[slot]) for expert, slot in places for part, memory in self.parts])

    def with_parts_of(self, other: "SlotMemory") -> "SlotMemory":
        """The memory of two matrices."""
        return SlotMemory(self.disk, [*self.parts, *other.parts], [*self.biases, *other.biases])
