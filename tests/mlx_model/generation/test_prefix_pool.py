"""The pool of KV caches without a model: which cache a prompt gets, what it costs, and what is dropped when."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast
from weakref import WeakSet

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.cpu.cache import CompiledCache, Shape
from mlx_model.generation.prefixes import Prefix, PrefixPool, common_prefix
from mlx_model.memory import plan as planning
from mlx_model.memory.parts import window_keys
from mlx_model.memory.wishes import Wishes
from mlx_model.model import Model
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.config import CACHE_STEP, PUBLISHED, ModelConfig

WINDOW = 4


@dataclass(frozen=True)
class Sizes:
    """What the pool reads of a model's plan."""

    context: int = 4 * CACHE_STEP
    rewind_points: int = 8
    is_compiled: bool = False
    prefill_chunk: int = 512


def pool_for(
    plan: Sizes | None = None,
    layers: tuple[str, ...] = ("sliding_attention", "full_attention"),
    *,
    beside: PrefixPool | None = None,
) -> PrefixPool:
    """One of a model, which another one `beside` it has too."""
    config = SimpleNamespace(layer_types=layers, num_hidden_layers=len(layers), sliding_window=WINDOW)
    windows = [WINDOW if kind == "sliding_attention" else None for kind in layers]
    plan = plan or Sizes()
    model = SimpleNamespace(config=config, plan=plan, make_cache=lambda: Cache(windows, most_marks=plan.rewind_points))
    model.pools = WeakSet() if beside is None else beside._pools
    return PrefixPool(cast(Model, model))


def compute(prefix: Prefix, ids: list[int]) -> Prefix:
    """Brings ids into a cache, as a runner does."""
    keys = mx.zeros((1, 1, len(ids), 1))
    for layer in range(len(prefix.cache.layers)):
        prefix.cache.append(layer, keys, keys)
    prefix.cache.advance(len(ids))
    prefix.ids += ids
    return prefix


def held(pool: PrefixPool, ids: list[int], *, answer_start: int | None = None, marks: tuple[int, ...] = ()) -> Prefix:
    """A cache of the pool's that holds these ids."""
    prefix = pool._add(Prefix(pool._make_cache()))
    prefix.cache.mark(marks)
    compute(prefix, ids)
    prefix.answer_start = len(ids) if answer_start is None else answer_start
    return prefix


def contents(pool: PrefixPool) -> list[list[int]]:
    return [prefix.ids for prefix in pool._prefixes]


def test_the_first_prompt_gets_an_empty_cache_and_the_next_the_same() -> None:
    pool = pool_for()
    first = pool.take([1, 2])
    assert (first.ids, first.cache.offset) == ([], 0)
    assert pool.take([3]) is first, "what holds nothing serves any prompt"
    compute(first, [3, 4])
    assert pool.take([3, 4, 5]) is first
    assert contents(pool) == [[3, 4]]


def test_a_prompt_that_shares_nothing_takes_nothing_away() -> None:
    pool = pool_for()
    other = held(pool, [1, 2])
    fresh = pool.take([3])
    assert fresh is not other
    assert contents(pool) == [[1, 2], []]


@pytest.mark.parametrize(
    ("answer_start", "prompt", "same"),
    [
        (3, [1, 2, 3, 9], True),  # loses sampled tokens alone
        (3, [1, 2, 9], False),  # loses one of the conversation's
        (4, [1, 2, 3, 9], False),
        (5, [1, 2, 3, 4, 5, 6], True),  # goes on
        (9, [1, 2, 3, 4, 5, 6], True),  # its prefill was cancelled
        (9, [1, 2, 3, 4, 6], False),
        (0, [1, 9], True),
    ],
)
def test_who_loses_part_of_a_conversation_gets_a_fork(answer_start: int, prompt: list[int], same: bool) -> None:
    pool = pool_for()
    conversation = held(pool, [1, 2, 3, 4, 5], answer_start=answer_start, marks=(1, 2, 3, 4))
    other = held(pool, [7])
    shared = common_prefix([1, 2, 3, 4, 5], prompt)
    taken = pool.take(prompt)
    assert (taken.ids, taken.cache.offset) == (prompt[:shared], shared)
    assert (taken is conversation) == same
    assert pool._prefixes == ([other, taken] if same else [other, conversation, taken])
    assert (conversation.ids, conversation.cache.offset) == (
        (prompt[:shared], shared) if same else ([1, 2, 3, 4, 5], 5)
    )


def test_a_fork_and_its_origin_are_two_conversations() -> None:
    pool = pool_for()
    origin = held(pool, [1, 2, 3], answer_start=3)
    fork = compute(pool.take([1, 2, 9]), [9])
    assert (origin.ids, fork.ids, fork.answer_start) == ([1, 2, 3], [1, 2, 9], 0)
    assert pool.take([1, 2, 3, 4]) is origin
    assert pool.take([1, 2, 9, 4]) is fork


def test_of_equals_the_one_used_last_is_taken() -> None:
    pool = pool_for()
    held(pool, [1, 2, 3], answer_start=0)
    last = held(pool, [1, 2, 4], answer_start=0)
    assert pool.take([1, 2, 5]) is last


def test_the_longest_counts_not_the_last() -> None:
    pool = pool_for()
    longest = held(pool, [1, 2, 3], answer_start=0)
    held(pool, [1, 2], answer_start=0)
    held(pool, [1], answer_start=0)
    assert pool.take([1, 2, 3, 4]) is longest


@pytest.mark.parametrize(("marks", "reused"), [((), 0), ((3,), 3), ((3, 6), 6), ((7,), 0)])
def test_what_is_reused_is_restorable(marks: tuple[int, ...], reused: int) -> None:
    """The windows have filled, so that a rewind needs a mark; and what is to be computed again is no longer held."""
    pool = pool_for()
    conversation = held(pool, list(range(10, 22)), marks=marks, answer_start=0)
    prompt = [*range(10, 16), 99]
    assert conversation.reusable(prompt) == reused
    taken = pool.take(prompt)
    assert (taken.ids, taken.cache.offset) == (list(range(10, 10 + reused)), reused)


# Memory


def test_the_room_is_what_the_plan_gives_one_cache() -> None:
    for layers, sliding, full in (
        (("sliding_attention", "full_attention"), 1, 1),
        (("sliding_attention", "sliding_attention", "full_attention"), 2, 1),
        (("full_attention", "full_attention", "sliding_attention"), 1, 2),
        (("sliding_attention",), 1, 1),
    ):
        for chunk in (2, 512):
            plan = Sizes(context=CACHE_STEP + 1, rewind_points=5, prefill_chunk=chunk)
            pool = pool_for(plan, layers)
            keys = window_keys(cast(ModelConfig, SimpleNamespace(sliding_window=WINDOW)), chunk)
            assert pool._room == 2 * CACHE_STEP - (-6 * keys * sliding // full)


def size(prefix: Prefix, pool: PrefixPool) -> int:
    return prefix.cache.capacity + pool._windows(len(prefix.ids), prefix.cache.windows)


@pytest.mark.parametrize(("tokens", "marks"), [(1024, 3), (512, 5), (1024, 20)])
@pytest.mark.parametrize("context", [1024, 4096])
def test_compiled_caches_hold_no_more_than_is_planned(context: int, tokens: int, marks: int) -> None:
    """By the addresses of their blocks, which windows have in common."""
    config = PUBLISHED["gpt-oss-20b"]
    found = planning.plan(config, 60 * 10**9, Wishes(context=context), on_gpu=False)
    windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
    shape = Shape(config.num_key_value_heads, config.head_dim, np.dtype(f"u{found.kv_bits // 8}"))

    def make_cache() -> CompiledCache:
        return CompiledCache(windows, shape, most_marks=found.rewind_points)

    model = SimpleNamespace(config=config, plan=found, make_cache=make_cache, pools=WeakSet())
    pool = PrefixPool(cast(Model, model))
    for number in range(8):
        cache = make_cache()
        pool._add(Prefix(cast(Cache, cache), [number] * tokens))
        cache.mark(range(0, tokens, tokens // marks))
        for _ in range(0, tokens, 64):
            cache.extend(1, 64)
            cache.advance(64)
        pool.make_room({})
    held = [layer for prefix in pool._prefixes for layer in cast(CompiledCache, prefix.cache).layers]
    kept = [window for layer in held for window in (layer._held, *layer._marked.values())]
    blocks = {block.address: block.numbers.nbytes for window in kept for block in window.blocks}
    assert 0.3 * found.kv < sum(blocks.values()) <= found.kv


@pytest.mark.parametrize(
    ("missing", "dropped"), [(0, 0), (1, 1), (CACHE_STEP, 1), (2 * CACHE_STEP + 50, 2), (10**6, 2)]
)
def test_the_least_recently_used_are_dropped_until_it_fits(missing: int, dropped: int) -> None:
    """To the token; one that is in use never is."""
    pool = pool_for()
    prefixes = [held(pool, [number], marks=(1,)) for number in range(3)]
    pool._room = sum(size(prefix, pool) for prefix in prefixes) - missing
    prefixes[-1].in_use = True
    has_room = pool.make_room({prefixes[-1]: CACHE_STEP - 1})  # its buffer has room for these
    assert pool._prefixes == prefixes[dropped:]
    assert has_room == (dropped < 2)


@pytest.mark.parametrize(("tokens", "dropped"), [(1, 0), (CACHE_STEP - 3, 0), (CACHE_STEP - 2, 1)])
def test_room_is_made_for_tokens_to_come(tokens: int, dropped: int) -> None:
    """A buffer grows by a step when it is full, not before."""
    pool = pool_for()
    held(pool, [1])
    last = held(pool, [2, 2, 2])
    pool._room = sum(size(prefix, pool) for prefix in pool._prefixes)
    last.in_use = True
    assert pool.make_room({last: tokens})
    assert len(pool._prefixes) == 2 - dropped
    assert pool._prefixes[-1] is last


@pytest.mark.parametrize(("missing", "forks"), [(0, True), (1, False)])
@pytest.mark.parametrize("length", [3, CACHE_STEP, CACHE_STEP + 1])
def test_a_fork_must_fit_beside_its_origin(missing: int, forks: bool, length: int) -> None:
    """Where two don't fit, the prompt goes on with the one there is."""
    pool = pool_for()
    origin = held(pool, [1, 2, 3], answer_start=3)
    windows = pool._windows(length, origin.cache.windows)
    steps = -(-length // CACHE_STEP)
    pool._room = size(origin, pool) + steps * CACHE_STEP + windows - missing
    taken = pool.take([1, *range(100, 100 + length - 1)])
    assert (taken is not origin) == forks
    assert len(pool._prefixes) == 1 + forks


def test_sessions_of_a_model_share_its_room() -> None:
    """Of their caches the least recently used goes first, whosever it is, and none that is in use."""
    one = pool_for()
    other = pool_for(beside=one)
    first, second, third = held(one, [1]), held(other, [2]), held(one, [3])
    for pool in (one, other):
        pool._room = 3 * size(first, pool)
        assert pool.make_room({})
    fourth = held(other, [4])
    assert other.make_room({})
    assert (one._prefixes, other._prefixes) == ([third], [second, fourth])
    third.in_use = fourth.in_use = True
    fifth = held(one, [5])
    assert one.make_room({third: 1})
    assert (one._prefixes, other._prefixes) == ([third, fifth], [fourth])
    fifth.in_use, one._room = True, one._room - 1
    assert not one.make_room({third: 1, fifth: 1})
    assert (one._prefixes, other._prefixes) == ([third, fifth], [fourth])


def test_a_row_waits_for_what_another_session_has_in_use() -> None:
    one = pool_for()
    other = pool_for(beside=one)
    mine = held(one, [1])
    one._room = 2 * size(mine, one)
    assert one.fits([2], 0, {mine: 1}) and one._fits_beside(mine, 1)
    held(other, [3]).in_use = True
    other.make_room({})
    assert not one.fits([2], 0, {mine: 1}) and not one._fits_beside(mine, 1)
    del other  # with its Session
    assert one.fits([2], 0, {mine: 1})


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 3000])
def test_common_prefix_to_the_id(length: int) -> None:
    ids = list(range(3000))
    other = [*ids[:length], *(-1 for _ in ids[length:])]
    assert common_prefix(ids, other) == common_prefix(other, ids) == length
    assert common_prefix(ids[:length], ids) == common_prefix(ids, ids[:length]) == length
    assert common_prefix([], ids) == 0
