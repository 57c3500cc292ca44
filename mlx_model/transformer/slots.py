"""The experts of one layer that are in memory: which ones, and which one makes way for another.

Routing is never changed: an expert that a token asks for is read before it is computed. What is decided here is only
how often that is necessary. Simulations and other engines agree on aged counts: the expert that was asked for least,
of late, makes way. No layer's experts are read ahead of its routing: nobody who tried that with experts of this size
gained by it, since the disk is busy anyway.
"""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_AGE = 64
"""Tokens after which what was asked for before counts half."""

_AT_ONCE = 2
"""Experts that are read while others are computed: as many as keep a disk busy, and with those that are computed
meanwhile no more than four slots."""


@dataclass(slots=True)
class Reads:
    """How often experts were asked for, a layer and step at a time, since a model was loaded: `asked` in all, `read` of
    these from the disk, which were `nbytes`; `waited_s` is how long computing waited for them."""

    asked: int = 0
    read: int = 0
    nbytes: int = 0
    waited_s: float = 0.0

    @property
    def in_memory(self) -> float:
        """The share of those asked for that were there."""
        return 1 - self.read / self.asked if self.asked else 1.0

    def since(self, before: "Reads") -> "Reads":
        """What was added to `before`."""
        return Reads(
            self.asked - before.asked,
            self.read - before.read,
            self.nbytes - before.nbytes,
            self.waited_s - before.waited_s,
        )

    def clear(self) -> None:
        """Counts from here on."""
        self.asked = self.read = self.nbytes = 0
        self.waited_s = 0.0

    def copy(self) -> "Reads":
        """As they are now."""
        return replace(self)


class Pending(Protocol):
    """Reads under way."""

    def wait(self) -> int:
        """Waits until all are over; returns the bytes. Raises what the first that failed has raised."""
        ...


class Store(Protocol):
    """Where experts are in memory, and how they come there."""

    def read(self, places: Sequence[tuple[int, int]]) -> Pending:
        """Begins to read experts from their files, each into its slot."""
        ...


class Slots:
    """`size` slots for the `experts` of a layer, all of them empty at first.

    `slot_of` int32 [E] has the slot of each expert, -1 of one that is not in memory; `expert_in` int32 [size] is the
    inverse, -1 for an empty slot. `counts` float64 [E] say how often each was asked for of late. What happens is added
    to `reads`. One step at a time; reading goes on in other threads. Who calls `hold`, or goes on to the next of
    `groups`, has computed what reads other experts than those that it then has: their memory may be written to.
    """

    def __init__(self, experts: int, size: int, store: Store, reads: Reads, counts: NDArray[np.float64]) -> None:
        self.size = size
        self.slot_of = np.full(experts, -1, np.int32)
        self.expert_in = np.full(size, -1, np.int32)
        self.counts = counts
        self._last = np.zeros(experts, np.int64)
        self._steps = 0
        self._age = 0
        self._store = store
        self._reads = reads

    def fill(self) -> None:
        """Reads as many experts as there are slots, those that are asked for most."""
        most = np.argsort(-self.counts, kind="stable")[: self.size]
        self._begin(sorted(most.tolist())).finish()

    def count(self, experts: NDArray[Any]) -> list[int]:
        """Notes what the tokens of a step ask for, int [N, top_k]; returns each expert of these once, in order."""
        asked = np.bincount(experts.ravel(), minlength=len(self.counts))
        tokens = min(len(experts), _AGE)
        self.counts += asked * (tokens / len(experts))
        self._age += tokens
        if self._age >= _AGE:
            self.counts /= 2
            self._age -= _AGE
        self._steps += 1
        self._last[asked > 0] = self._steps
        return [*map(int, np.flatnonzero(asked))]

    def hold(self, wanted: Sequence[int]) -> None:
        """Has experts in memory, at most as many as there are slots. Raises what reading raises; the slots that were
        to be filled are empty then."""
        self._reads.asked += len(wanted)
        self._begin(wanted).finish()

    def groups(self, wanted: Sequence[int]) -> Generator[Sequence[int], None, None]:
        """Groups of experts, in their order, each in memory until the next group is asked for; all at once where there
        are slots for them, else the next is read meanwhile. Raises as `hold`."""
        self._reads.asked += len(wanted)
        if len(wanted) <= self.size:
            self._begin(wanted).finish()
            yield wanted
            return
        group, rest = self._first_of(wanted)
        reading = self._begin(group, later=rest)
        try:
            while group:
                reading.finish()
                following, rest = self._first_of(rest)
                reading = self._begin(following, keep=group, later=rest)
                yield group
                group = following
        finally:
            reading.abandon()

    def _first_of(self, wanted: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """A group of experts, few of which are missing, so that the others stay for theirs; and the rest."""
        missing = 0
        for index, expert in enumerate(wanted):
            missing += self.slot_of[expert] < 0
            if missing > _AT_ONCE or index == self.size // 2:
                return wanted[:index], wanted[index:]
        return wanted, []

    def _begin(self, wanted: Sequence[int], keep: Collection[int] = (), later: Collection[int] = ()) -> "_Reading":
        """Starts reading what of `wanted` is missing. What of `keep` is in memory stays, and what is wanted `later`
        does if others can make way."""
        missing = [expert for expert in wanted if self.slot_of[expert] < 0]
        if not missing:
            return _Reading(self, [], None)
        busy, soon = {*wanted, *keep}, {*later}

        def importance(slot: int) -> tuple[bool, bool, float, int]:
            expert = int(self.expert_in[slot])
            return expert >= 0, expert in soon, self.counts[expert], self._last[expert]

        free = sorted((slot for slot in range(self.size) if self.expert_in[slot] not in busy), key=importance)
        places = [*zip(missing, free[: len(missing)], strict=True)]
        for _, slot in places:
            if (old := self.expert_in[slot]) >= 0:
                self.expert_in[slot] = self.slot_of[old] = -1
        return _Reading(self, places, self._store.read(places))

    def _filled(self, places: Sequence[tuple[int, int]], nbytes: int, waited_s: float) -> None:
        for expert, slot in places:
            self.slot_of[expert], self.expert_in[slot] = slot, expert
        self._reads.read += len(places)
        self._reads.nbytes += nbytes
        self._reads.waited_s += waited_s


class _Reading:
    """Reads of experts under way; their slots are empty until it has finished."""

    def __init__(self, slots: Slots, places: Sequence[tuple[int, int]], pending: Pending | None) -> None:
        self._slots, self._places, self._pending = slots, places, pending

    def finish(self) -> None:
        """Waits for them."""
        if (pending := self._pending) is None:
            return
        self._pending = None
        start = time.perf_counter()
        nbytes = pending.wait()
        self._slots._filled(self._places, nbytes, time.perf_counter() - start)

    def abandon(self) -> None:
        """Waits for what nobody wants any more: until then it is written to."""
        try:
            self.finish()
        except Exception:  # of what failed already the first error is on its way
            return


@dataclass(frozen=True, slots=True)
class Streaming:
    """What of a model's experts is read from the disk: the slots of its streamed layers, and what was read. `keep`
    remembers for the next start what is asked for most. Whoever takes tokens through the layers holds `step`: of two
    threads one would read over the experts that the other computes with."""

    slots: Sequence[Slots]
    reads: Reads
    keep: Callable[[NDArray[np.float64]], None]
    step: Lock = field(default_factory=Lock)

    def save(self) -> None:
        """Remembers how often each expert was asked for of late."""
        self.keep(np.array([each.counts for each in self.slots]))
