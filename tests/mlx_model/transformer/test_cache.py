"""The KV cache: what a query sees, and going back to where one was, long after the window has wrapped."""

import mlx.core as mx
import numpy as np
import pytest

from metal.spans import Span
from mlx_model.transformer.cache import Cache

WINDOW = 8


def feed(cache: Cache, positions: range, tag: float = 0.0) -> list[np.ndarray]:
    """Appends keys that carry their position (plus `tag`); returns the positions each layer shows."""
    keys = mx.array(np.arange(positions.start, positions.stop, dtype=np.float32) + tag).reshape(1, 1, -1, 1)
    visible = []
    for layer in range(2):
        seen, values = cache.append(layer, keys, -keys)
        assert np.array_equal(np.array(seen), -np.array(values))
        visible.append(np.array(seen).ravel())
    cache.advance(len(positions))
    return visible


def both() -> Cache:
    return Cache([WINDOW, None])


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 9, 20, 60])
def test_queries_see_the_window_and_everything(chunk: int) -> None:
    cache = both()
    for start in range(0, 60, chunk):
        positions = range(start, min(60, start + chunk))
        sliding, full = feed(cache, positions)
        assert full.tolist() == list(range(positions.stop))
        # What the first of these queries may see, itself included, and the queries themselves.
        assert sliding.tolist() == list(range(max(0, start - WINDOW + 1), positions.stop))
    assert cache.offset == 60


@pytest.mark.parametrize("chunk", [1, 5, 37, 100])
@pytest.mark.parametrize("mark", [1, 7, 8, 31, 37, 99])
def test_marks_stay_restorable(mark: int, chunk: int) -> None:
    cache = both()
    cache.mark([mark])
    for start in range(0, 100, chunk):
        feed(cache, range(start, min(100, start + chunk)))
    assert cache.restore(min(mark + 1, 99)) == mark
    sliding, full = feed(cache, range(mark, mark + 1), tag=0.5)
    assert full.tolist() == [*range(mark), mark + 0.5]
    assert sliding.tolist() == [*range(max(0, mark - WINDOW + 1), mark), mark + 0.5]


def test_marks_that_were_never_reached_give_way_to_the_next_prompts() -> None:
    """A cancelled prefill leaves some; behind them other tokens come now."""
    cache = both()
    cache.mark([10, 40])
    feed(cache, range(20))
    cache.mark([30])
    feed(cache, range(20, 50))
    assert cache.windows == 3
    assert cache.restore(45) == 30
    assert cache.restore(29) == 10


def test_a_snapshot_stays_restorable() -> None:
    cache = both()
    feed(cache, range(30))
    assert cache.snapshot() == 30
    feed(cache, range(30, 50))
    assert cache.restore(45) == 30
    assert feed(cache, range(30, 31))[0].tolist() == list(range(23, 31))


def test_without_marks_only_the_start_is_left_after_the_window_has_filled() -> None:
    cache = both()
    feed(cache, range(WINDOW - 1))
    assert cache.restore(4) == 4
    feed(cache, range(4, 40))
    assert cache.restore(20) == 0
    assert [visible.tolist() for visible in feed(cache, range(2))] == [[0, 1], [0, 1]]


def test_going_back_forgets_later_marks() -> None:
    cache = both()
    cache.mark([10, 20])
    feed(cache, range(30))
    assert cache.restore(10) == 10
    feed(cache, range(10, 40), tag=0.5)
    assert cache.restore(25) == 10


def test_a_window_of_an_abandoned_branch_never_comes_back() -> None:
    cache = both()
    cache.mark([10, 20])
    feed(cache, range(30))
    assert cache.restore(10) == 10
    feed(cache, range(10, 40), tag=0.5)
    assert cache.restore(20) == 10


def test_a_window_that_has_just_filled_can_not_be_cut() -> None:
    cache = both()
    feed(cache, range(WINDOW))
    assert cache.restore(4) == 0


def test_a_mark_does_not_keep_its_whole_chunk() -> None:
    cache = Cache([128])
    before = mx.get_active_memory()
    cache.mark([1000, 3000])
    for _ in range(2):
        keys, values = (mx.random.normal((1, 8, 2048, 64)) for _ in range(2))
        cache.append(0, keys, values)
        cache.advance(2048)
        mx.eval(cache.arrays())
        del keys, values
    window = 2 * 8 * 127 * 64 * 4
    assert mx.get_active_memory() - before < 4 * window


@pytest.mark.parametrize("position", [3, 20, 40])
def test_a_fork_and_its_origin_go_separate_ways(position: int) -> None:
    cache = both()
    cache.mark([3, 20])
    feed(cache, range(40))
    fork = cache.fork(position)
    assert fork.offset == position
    assert cache.offset == 40
    for tag, twin, start in ((0.25, fork, position), (0.5, cache, 40), (0.75, fork, position + 1)):
        sliding, full = feed(twin, range(start, start + 1), tag=tag)
        before = [*range(position), *([position + 0.25] if tag == 0.75 else [])] if twin is fork else [*range(40)]
        assert full.tolist() == [*before, start + tag]
        assert sliding.tolist() == [*before, start + tag][-WINDOW:]
    # Each keeps its own marks.
    assert fork.restorable(position) == (position if position < 40 else 20)
    assert cache.restorable(39) == 20


def test_a_fork_of_all_there_is_hands_a_kernel_the_window_and_no_more() -> None:
    """A span's count is where the kernel stops reading; MLX's slices would end with the buffer."""
    cache = both()
    feed(cache, range(40))
    newest = Span(mx.zeros((1, 1, 1, 1)), mx.zeros((1, 1, 1, 1)), 1)
    for twin in (cache.fork(40), cache):
        assert [sum(span.count for span in twin.append_spans(layer, newest)) for layer in range(2)] == [WINDOW, 41]


def test_capacity_and_windows_say_what_a_cache_holds() -> None:
    cache = Cache([WINDOW, None], most_marks=2)
    assert (cache.capacity, cache.windows) == (0, 1)
    cache.mark([10, 20, 30])
    feed(cache, range(300))
    assert (cache.capacity, cache.windows) == (512, 3)
    assert Cache([WINDOW]).capacity == 0


def test_the_present_is_restorable_without_a_mark() -> None:
    cache = both()
    feed(cache, range(30))
    assert cache.restore(30) == cache.restore(99) == 30


def test_a_mark_can_be_gone_back_to_twice() -> None:
    cache = both()
    cache.mark([20])
    feed(cache, range(40))
    for tag in (0.25, 0.5):
        assert cache.restore(30) == 20
        sliding, full = feed(cache, range(20, 39), tag=tag)
        assert full.tolist() == [*range(20), *(p + tag for p in range(20, 39))]
        assert sliding.tolist() == [*range(13, 20), *(p + tag for p in range(20, 39))]


def test_marks_stay_bounded_and_dense_near_the_end() -> None:
    cache = Cache([WINDOW, None], most_marks=8)
    cache.mark(range(10, 1000, 10))
    for start in range(0, 1000, 50):
        feed(cache, range(start, start + 50))
    kept = [position for position in range(10, 1000, 10) if cache.restorable(position) == position]
    assert len(kept) == 8
    assert kept[-2:] == [980, 990]
    assert kept[0] < 500


def test_going_back_across_a_grown_buffer() -> None:
    cache = Cache([None])
    keys = mx.arange(1000, dtype=mx.float32).reshape(1, 1, -1, 1)
    for start in range(0, 1000, 100):
        cache.append(0, keys[:, :, start : start + 100], keys[:, :, start : start + 100])
        cache.advance(100)
    assert cache.restore(300) == 300
    seen, _ = cache.append(0, keys[:, :, 300:310], keys[:, :, 300:310])
    assert np.array(seen).ravel().tolist() == list(range(310))
