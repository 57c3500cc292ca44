"""The KV cache beside one that keeps everything: random appends, marks, rewinds and forks over several branches."""

import random
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
import pytest

from metal.spans import Span, joined
from mlx_model.transformer.cache import Cache, FullLayer, SlidingLayer
from mlx_model.transformer.config import CACHE_STEP
from mlx_model.transformer.positions import MOST_TOGETHER

WINDOWS = (8, None, 5)
HEADS, DIM = 2, 3


def rows(numbers: list[float]) -> mx.array:
    """Keys [1, HEADS, T, DIM], each element of its own: the number, its head, its place in the head."""
    heads, places = np.arange(HEADS)[:, None, None] / 8, np.arange(DIM) / 64
    return mx.array((np.array(numbers, np.float32)[:, None] + heads + places)[None])


@dataclass
class Everything:
    """What a cache with WINDOWS promises, computed from a list of all that was appended."""

    numbers: list[float] = field(default_factory=list)
    marks: set[int] = field(default_factory=set)

    def restorable(self, position: int) -> int:
        if position >= len(self.numbers) or len(self.numbers) < min(filter(None, WINDOWS)):
            return min(position, len(self.numbers))
        return max((mark for mark in self.marks if mark <= position), default=0)

    def append(self, cache: Cache, added: list[float], *, in_spans: bool) -> None:
        start = len(self.numbers)
        self.numbers += added
        for layer, window in enumerate(WINDOWS):
            keys, values = rows(added), -rows(added)
            if in_spans:
                spans = cache.append_spans(layer, Span(keys, values, len(added)))
                assert len(spans) <= (3 if window is None else 2)
                keys, values = joined(spans)
            else:
                keys, values = cache.append(layer, keys, values)
            seen = self.numbers[0 if window is None else max(0, start - window + 1) :]
            assert np.array_equal(np.array(keys), np.array(rows(seen)))
            assert np.array_equal(np.array(values), np.array(-rows(seen)))
        cache.advance(len(added))
        assert cache.offset == len(self.numbers)

    def mark(self, cache: Cache, positions: list[int]) -> None:
        cache.mark(positions)
        reached = {mark for mark in self.marks if mark <= len(self.numbers)}
        self.marks = reached | {position for position in positions if position > len(self.numbers)}

    def snapshot(self, cache: Cache) -> None:
        assert cache.snapshot() == len(self.numbers)
        self.marks.add(len(self.numbers))

    def restore(self, cache: Cache, position: int) -> None:
        reached = self.restorable(position)
        assert cache.restore(position) == reached == cache.offset
        if reached < len(self.numbers):
            self.marks = {mark for mark in self.marks if mark <= reached}
        del self.numbers[reached:]

    def take_back(self, cache: Cache, count: int) -> None:
        cache.take_back(count)
        del self.numbers[len(self.numbers) - count :]
        assert cache.offset == len(self.numbers)

    def fork(self, cache: Cache, position: int) -> "tuple[Everything, Cache]":
        reached = self.restorable(position)
        marks = {mark for mark in self.marks if mark <= reached}
        return Everything(self.numbers[:reached], marks), cache.fork(reached)


@pytest.mark.parametrize("seed", range(12))
def test_every_branch_sees_and_remembers_what_the_docstrings_say(seed: int) -> None:
    dice = random.Random(seed)
    branches = [(Everything(), Cache(WINDOWS, most_marks=1000))]
    for step in range(60):
        everything, cache = dice.choice(branches)
        length = len(everything.numbers)
        near = dice.choice([0, 1, 4, 5, 7, 8, length, length + 1, *everything.marks, dice.randint(0, length + 20)])
        match dice.choice(["append", "append", "append", "mark", "mark", "restore", "snapshot", "fork"]):
            case "append":
                count = dice.choice([1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 40])
                everything.append(cache, [8 * (step + i / 64) for i in range(count)], in_spans=dice.random() < 0.5)
                if count <= MOST_TOGETHER and not everything.marks & {length + at + 1 for at in range(count)}:
                    everything.take_back(cache, dice.randint(0, min(count, MOST_TOGETHER - 1)))
            case "mark":
                everything.mark(cache, [near, length + dice.randint(0, 12)])
            case "restore":
                everything.restore(cache, near)
            case "snapshot":
                everything.snapshot(cache)
            case "fork" if len(branches) < 4:
                branches.append(everything.fork(cache, near))
        for everything, cache in branches:
            assert cache.windows == 1 + len(everything.marks)
            mx.eval(cache.arrays())
            for position in range(len(everything.numbers) + 2):
                assert cache.restorable(position) == everything.restorable(position)


def test_a_tail_is_joined_when_it_is_full() -> None:
    """Token by token, across two joins; a fork and a rewind into each of the parts see the same keys."""
    cache, numbers = Cache([None]), [float(number) for number in range(2 * CACHE_STEP + 40)]
    cache.append(0, rows(numbers[:30]), rows(numbers[:30]))
    cache.advance(30)
    frozen = set[int]()
    for length, number in enumerate(numbers[30:], 31):
        spans = cache.append_spans(0, Span(rows([number]), -rows([number]), 1))
        cache.advance(1)
        assert spans[-1].count == 1 and sum(span.count for span in spans) == length
        assert all(span.count <= CACHE_STEP for span in spans[1:])
        frozen.add(spans[0].count)
        mx.eval(cache.arrays())
    assert frozen == {30, 30 + CACHE_STEP, 30 + 2 * CACHE_STEP}
    assert np.array_equal(np.array(joined(spans)[0]), np.array(rows(numbers)))
    for position in (10, 30, 31, 30 + CACHE_STEP, 35 + CACHE_STEP, len(numbers)):
        fork = cache.fork(position)
        for each in (fork, cache.fork(len(numbers))):
            each.restore(position)
            keys, _ = joined(each.append_spans(0, Span(rows([7]), rows([7]), 1)))
            assert np.array_equal(np.array(keys), np.array(rows([*numbers[:position], 7])))


def bytes_copied(cache: Cache, *, in_spans: bool) -> int:
    """At most, by one token, while somebody else holds all that the cache has: what MLX then allocates to write to."""
    token, most = mx.ones((1, 8, 1, 64)), 0
    mx.eval(token)
    for _ in range(4):
        cache.append_spans(0, Span(token, token, 1)) if in_spans else cache.append(0, token, token)
        cache.advance(1)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(cache.arrays())
        most = max(most, mx.get_peak_memory() - before)
        others = [array[:] for array in cache.arrays()]  # as a command buffer in flight does
        mx.eval(others)
    return most


def test_a_second_owner_costs_a_copy_of_the_tail_and_not_of_the_cache() -> None:
    copied = {}
    for in_spans in (False, True):
        cache, prompt = Cache([None]), mx.zeros((1, 8, 4000, 64))
        cache.append(0, prompt, prompt)
        cache.advance(4000)
        mx.eval(cache.arrays())
        copied[in_spans] = bytes_copied(cache, in_spans=in_spans)
    key_and_value = 2 * 8 * 64 * 4
    assert copied[False] >= 4000 * key_and_value
    assert copied[True] <= 1.01 * (CACHE_STEP + 1) * key_and_value


@pytest.mark.parametrize(("tokens", "steps"), [(1, 1), (CACHE_STEP, 1), (CACHE_STEP + 1, 2), (2 * CACHE_STEP, 2)])
def test_a_full_layer_grows_by_whole_steps(tokens: int, steps: int) -> None:
    for split in {1, tokens // 2, tokens} - {0}:
        cache = Cache([None])
        cache.append(0, rows([0] * split), rows([0] * split))
        cache.advance(split)
        if split < tokens:
            cache.append(0, rows([0] * (tokens - split)), rows([0] * (tokens - split)))
        assert cache.capacity == steps * CACHE_STEP
        assert [array.shape for array in cache.present()] == 2 * [(1, HEADS, steps * CACHE_STEP, DIM)]


def test_a_fork_holds_what_it_needs() -> None:
    """Not the buffers of the longer conversation, nor the windows behind the place where the two part."""
    cache = Cache([8, None])
    cache.mark([5, 20])
    for layer in range(2):
        cache.append(layer, rows([0] * 30), rows([0] * 30))
    cache.advance(30)
    fork = cache.fork(5)
    assert (fork.capacity, fork.windows) == (5, 2)
    assert [array.shape[2] for array in fork.present()] == [5, 5, CACHE_STEP, CACHE_STEP]
    fork.append(1, rows([1]), rows([1]))
    assert fork.capacity == CACHE_STEP
    assert len(fork.arrays()) == 4 + 2


@pytest.mark.parametrize("in_spans", [False, True])
def test_a_fork_copies_a_full_layer_when_it_writes_into_it(in_spans: bool) -> None:
    """Keys in spans only once the fork's tail is full. Neither sees what the other writes."""
    cache, prompt, token = Cache([None]), mx.zeros((1, 8, 4000, 64)), mx.ones((1, 8, 1, 64))
    cache.append(0, prompt, prompt)
    cache.advance(4000)
    mx.eval(cache.arrays(), token)
    held = mx.get_active_memory()
    fork = cache.fork(3000)
    mx.eval(fork.arrays())
    assert mx.get_active_memory() == held
    assert fork.capacity == 3000
    for _ in range(3):
        fork.append_spans(0, Span(token, token, 1)) if in_spans else fork.append(0, token, token)
        fork.advance(1)
        mx.eval(fork.arrays())
    room = CACHE_STEP if in_spans else -(-3003 // CACHE_STEP) * CACHE_STEP
    assert mx.get_active_memory() - held <= 1.01 * room * 2 * 8 * 64 * 4
    keys, _ = cache.append(0, 2 * token, token)
    others, _ = fork.append(0, 3 * token, token)
    assert [keys[0, 0, at, 0].item() for at in (2999, 3000, 4000)] == [0, 0, 2]
    assert [others[0, 0, at, 0].item() for at in (2999, 3000, 3003)] == [0, 1, 3]


def test_rewinding_to_nothing_keeps_no_window() -> None:
    layer = SlidingLayer(8)
    layer.append(rows([0] * 30), rows([0] * 30), [])
    layer.restore(0)
    assert sum(array.size for array in layer.present()) == 0
    empty = FullLayer().fork(0)
    assert (empty.capacity, empty.present()) == (0, [])


@pytest.mark.parametrize("in_spans", [False, True])
def test_a_narrow_cache_hands_out_what_the_queries_compute_in(in_spans: bool) -> None:
    """A kernel (`append_spans`) reads the cache's own numbers; MLX's operations get the queries' dtype."""
    exact = mx.random.normal((1, HEADS, 4, DIM), key=mx.random.key(1))
    cache = Cache([8, None], dtype=mx.bfloat16)
    for layer in range(2):
        spans = joined(cache.append_spans(layer, Span(exact, exact + 1, 4))) if in_spans else None
        keys, values = spans or cache.append(layer, exact, exact + 1)
        assert keys.dtype == values.dtype == (mx.bfloat16 if in_spans else mx.float32)
        for found, expected in ((keys, exact), (values, exact + 1)):
            rounded = expected.astype(mx.bfloat16).astype(mx.float32)
            assert np.array_equal(np.array(found[:, :, :4].astype(mx.float32)), np.array(rounded))
    cache.advance(4)
    assert {array.dtype for array in cache.arrays()} == {mx.bfloat16}
    assert cache.fork(4).append(0, exact, exact)[0].dtype == mx.float32


def marked_all_along(most_marks: int) -> Cache:
    """After 400 tokens, each of them a mark."""
    cache = Cache([2], most_marks=most_marks)
    cache.mark(range(1, 500))
    token = mx.zeros((1, 1, 1, 1))
    for position in range(1, 401):
        cache.append(0, token, token)
        cache.advance(1)
        assert len(cache.arrays()) == 2 + 2 * min(position, most_marks)
        assert cache.windows == 1 + most_marks
    return cache


@pytest.mark.parametrize(
    ("most_marks", "kept"), [(1, [400]), (2, [380, 400]), (8, [240, 342, 373, 386, 394, 398, 399, 400])]
)
def test_marks_grow_sparser_with_their_distance(most_marks: int, kept: list[int]) -> None:
    cache = marked_all_along(most_marks)
    assert sorted({*map(cache.restorable, range(401))}) == [0, *kept]


def test_a_rewind_computes_little_again() -> None:
    """At most a seventh of what lies behind the place, with as many marks as a plan has at its best."""
    cache = marked_all_along(48)
    assert max((place - cache.restorable(place)) / (400 - place) for place in range(1, 400)) < 1 / 7


def test_snapshots_are_thinned_as_marks_are() -> None:
    cache = Cache([2, None], most_marks=3)
    token = mx.zeros((1, 1, 1, 1))
    for _ in range(20):
        for layer in range(2):
            cache.append(layer, token, token)
        cache.advance(1)
        cache.snapshot()
        assert len(cache.arrays()) - len(cache.present()) <= 2 * 3
    assert cache.windows == 1 + 3


def test_windows_hold_no_more_than_the_plan_counts() -> None:
    """A window cut from a short chunk may be a view of that chunk and the window before it; from a long one it is a
    copy (memory/parts.py, window_keys)."""
    window, heads = 128, 8
    for chunk in (16, window - 1, window, 4 * window):
        marks = range(chunk, 8 * chunk + 1, chunk)
        cache = Cache([window])
        cache.mark(marks)
        before = mx.get_active_memory()
        for number in marks:
            keys = mx.full((1, heads, chunk, 64), number, mx.float32)
            values = keys + 1
            cache.append(0, keys, values)
            cache.advance(chunk)
            mx.eval(cache.arrays())
            del keys, values
        counted = window - 1 if chunk > window - 1 else window - 1 + chunk
        most = (1 + len(marks)) * counted * heads * 64 * 2 * 4
        assert mx.get_active_memory() - before <= 1.01 * most, chunk  # allocations are rounded up


def test_a_decoded_token_copies_no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window is a view of the one before and the new key; a snapshot is that very window."""
    cache = Cache([8])
    cache.append(0, rows([0] * 40), rows([0] * 40))
    cache.advance(40)
    monkeypatch.delattr(mx, "contiguous")
    for tokens in (1, 1, 7):
        cache.append(0, rows([0] * tokens), rows([0] * tokens))
        cache.advance(tokens)
    cache.snapshot()
    assert {id(array) for array in cache.arrays()} == {id(array) for array in cache.present()}
    with pytest.raises(AttributeError):
        cache.append(0, rows([0] * 8), rows([0] * 8))


def test_an_empty_cache_holds_nothing() -> None:
    cache = Cache([8, None])
    assert cache.snapshot() == cache.restore(5) == cache.fork(0).offset == 0
    assert cache.present() == cache.arrays() == cache.fork(0).arrays() == []
    assert (cache.capacity, cache.fork(0).capacity) == (0, 0)
