"""Which experts are in memory: victims, counts, groups, and slots that a failed read has left."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.transformer.slots import Reads, Slots, Streaming

EXPERTS = 8


@dataclass
class Done:
    """Reads that are over."""

    error: Exception | None
    count: int

    def wait(self) -> int:
        """The bytes, or the error."""
        if self.error is not None:
            raise self.error
        return 10 * self.count


@dataclass
class Memory:
    """A store that notes what is in each slot; with `fails`, reads of that expert do."""

    size: int
    inside: list[int] = field(default_factory=list)
    fails: int = -1
    most: int = 0

    def __post_init__(self) -> None:
        self.inside = [-1] * self.size

    def read(self, places: Sequence[tuple[int, int]]) -> Done:
        """See Store. Of what fails there may be a part."""
        for _, slot in places:
            self.inside[slot] = -1
        if any(expert == self.fails for expert, _ in places):
            return Done(OSError("gone"), 0)
        for expert, slot in places:
            self.inside[slot] = expert
        self.most = max(self.most, len(places))
        return Done(None, len(places))


def made(size: int, counts: Sequence[float] = (0,) * EXPERTS) -> tuple[Slots, Memory, Reads]:
    memory, reads = Memory(size), Reads()
    return Slots(EXPERTS, size, memory, reads, np.array(counts, np.float64)), memory, reads


def holds(slots: Slots, memory: Memory) -> set[int]:
    """The experts in memory, of which both tables and the memory itself say the same."""
    for slot, expert in enumerate(slots.expert_in):
        if expert >= 0:
            assert slots.slot_of[expert] == slot and memory.inside[slot] == expert
    held = {expert for expert in range(EXPERTS) if slots.slot_of[expert] >= 0}
    assert held == {int(expert) for expert in slots.expert_in if expert >= 0}
    return held


def test_the_most_popular_are_read_first() -> None:
    slots, memory, _ = made(3, (1, 5, 0, 4, 2, 9, 0, 0))
    slots.fill()
    assert holds(slots, memory) == {1, 3, 5}


def test_the_least_asked_for_makes_way_and_of_equals_the_oldest() -> None:
    slots, memory, reads = made(4)
    for step in ([0, 1], [0, 2], [1, 3]):
        slots.hold(slots.count(np.array([step])))
    assert holds(slots, memory) == {0, 1, 2, 3}
    slots.hold(slots.count(np.array([[4, 5]])))
    assert holds(slots, memory) == {0, 1, 4, 5}  # 2 and 3 were asked for once each
    slots.hold(slots.count(np.array([[4, 6]])))
    assert holds(slots, memory) == {0, 1, 4, 6}
    assert (reads.asked, reads.read, reads.nbytes) == (10, 7, 70)
    assert reads.in_memory == pytest.approx(0.3)


def test_old_popularity_fades() -> None:
    slots, memory, _ = made(2)
    for _ in range(60):
        slots.hold(slots.count(np.array([[0, 1]])))
    for _ in range(400):
        slots.hold(slots.count(np.array([[2, 3]])))
    assert slots.counts[0] < 1 < slots.counts[2]
    assert holds(slots, memory) == {2, 3}


def test_a_long_prompt_counts_like_sixty_four_tokens() -> None:
    slots, _, _ = made(4)
    slots.count(np.array([[0, 1]] * 64 + [[0, 2]] * 64))
    assert slots.counts[:3].tolist() == [32, 16, 16]  # and half of that, since they are so many


@pytest.mark.parametrize("size", [4, 5])
def test_more_experts_than_slots_come_in_groups_that_stay(size: int) -> None:
    slots, memory, reads = made(size)
    slots.hold([6, 7])
    seen: list[int] = []
    for group in slots.groups(range(8)):
        assert {*group} <= holds(slots, memory)
        seen += group
    assert seen == [*range(8)]
    assert reads.asked == 10
    assert reads.read == {4: 10, 5: 9}[size]


def test_what_is_in_memory_stays_until_its_turn() -> None:
    """Four slots are enough to read the others one after the other."""
    slots, memory, reads = made(7)
    slots.hold([5, 6, 7])
    assert [[*group] for group in slots.groups(range(8))] == [[0, 1], [2, 3], [4, 5, 6], [7]]
    assert reads.read == 8
    assert {5, 6, 7} <= holds(slots, memory)


def test_groups_that_nobody_reads_to_the_end_leave_it_sound() -> None:
    slots, memory, _ = made(4)
    groups = slots.groups(range(8))
    next(groups)
    groups.close()
    assert len(holds(slots, memory)) == 4


def test_a_read_that_fails_leaves_empty_slots_and_the_others() -> None:
    slots, memory, reads = made(4)
    slots.hold([0, 1, 2, 3])
    memory.fails = 5
    with pytest.raises(OSError, match="gone"):
        slots.hold([4, 5])
    assert holds(slots, memory) == {2, 3}
    memory.fails = -1
    slots.hold([4, 5])
    assert holds(slots, memory) == {2, 3, 4, 5}  # what is empty is filled first
    assert reads.read == 6
    memory.fails = 6
    with pytest.raises(OSError, match="gone"):
        [*slots.groups(range(8))]
    holds(slots, memory)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.lists(st.integers(0, 7), min_size=2, max_size=2, unique=True), min_size=1), max_size=12))
def test_what_is_wanted_is_there(steps: list[list[list[int]]]) -> None:
    """However many tokens ask for whatever: in its group each expert is in memory, once, with no other in its place."""
    slots, memory, reads = made(3)
    for step in steps:
        wanted = slots.count(np.array(step))
        assert wanted == sorted({expert for token in step for expert in token})
        seen: list[int] = []
        for group in slots.groups(wanted):
            assert {*group} <= holds(slots, memory)
            seen += group
        assert seen == wanted
    assert reads.read <= reads.asked
    assert (slots.counts >= 0).all()


def test_what_was_read_is_counted_from_a_moment_on() -> None:
    slots, _, reads = made(4)
    slots.hold([0, 1])
    before = reads.copy()
    slots.hold([1, 2])
    added = reads.since(before)
    assert (added.asked, added.read, added.nbytes, added.in_memory) == (2, 1, 10, 0.5)
    kept: list[np.ndarray] = []
    Streaming([slots], reads, kept.append).save()
    assert kept[0].shape == (1, EXPERTS)
