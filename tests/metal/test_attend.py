"""Attention's kernels against float64: heads, tokens, windows, buffers, splits, sinks, and what they read."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from metal.attend import attend, splits, why_not
from metal.launch import Call, executed_by
from metal.spans import Span
from tests.fixtures import reference_dense as reference
from tests.fixtures.dense_models import Random
from tests.fixtures.recorder import recorded

Arguments = tuple[mx.array, list[Span], mx.array, float, int | None]
"""Those of `attend` up to the window."""


@dataclass(frozen=True)
class Case:
    """One call; `cores` decides the number of splits, `cached` is the dtype of keys and values, by default `dtype`.

    The keys from each position of `cuts` on lie in a buffer of their own; the first one has `capacity`, of which the
    keys begin at `start`.
    """

    keys: int
    capacity: int
    heads: int = 64
    kv_heads: int = 8
    tokens: int = 1
    start: int = 0
    cuts: tuple[int, ...] = ()
    window: int | None = None
    cores: int = 10
    dtype: mx.Dtype = mx.bfloat16
    cached: mx.Dtype | None = None
    sink: float = 0.0
    scale: float = 0.125

    def arguments(self) -> Arguments:
        random = Random(self.keys)
        queries = random.normal(self.tokens, self.heads, 64, dtype=self.dtype)
        spans = []
        for first, end in pairwise((0, *self.cuts, self.keys)):
            capacity, start = (end - first + 5, 3) if first else (self.capacity, self.start)
            buffers = [random.normal(1, self.kv_heads, capacity, 64, dtype=self.cached or self.dtype) for _ in range(2)]
            spans.append(Span(buffers[0], buffers[1], end - first, start))
        sinks = random.normal(self.heads, dtype=self.dtype) + self.sink
        return queries, spans, sinks, self.scale, self.window


SMALL = {
    "the first token": Case(1, 256),
    "31 keys": Case(31, 256, dtype=mx.float16),
    "77 keys, the demo model": Case(77, 256, heads=4, kv_heads=2, dtype=mx.float32),
    "a full window": Case(128, 128, window=128),
    "a window and the new key": Case(128, 128, start=1, cuts=(127,), window=128, dtype=mx.float16),
    "frozen, tail and the new key": Case(600, 512, cuts=(512, 599)),
    "a tail of one": Case(258, 256, cuts=(256, 257), dtype=mx.float32),
    "a window in a grown cache": Case(300, 512, window=128, dtype=mx.float32),
    "4 tokens, each with its window": Case(131, 131, tokens=4, window=128, dtype=mx.float32),
    "2 tokens over three buffers": Case(129, 60, tokens=2, start=9, cuts=(50, 127), window=128),
    "3 tokens, the first of all": Case(3, 256, heads=4, kv_heads=2, tokens=3),
    "groups of 3": Case(90, 128, heads=6, kv_heads=2, tokens=2, dtype=mx.float16),
    "groups of 5": Case(200, 256, heads=5, kv_heads=1, tokens=1, dtype=mx.float32),
    "one head a key": Case(40, 64, heads=2, kv_heads=2, tokens=4, window=16),
    "a cache of its own dtype": Case(70, 128, heads=8, kv_heads=4, dtype=mx.float32, cached=mx.bfloat16),
    "the sink takes all": Case(100, 128, sink=300),
    "the sink takes nothing": Case(100, 128, sink=-300),
    "large scores": Case(100, 128, scale=40.0, dtype=mx.float32),
    "600 keys in 4 parts": Case(600, 768, dtype=mx.float32),
    "4 tokens over 2 parts": Case(257, 512, tokens=4, dtype=mx.float16),
    "a window in parts": Case(520, 1024, heads=8, kv_heads=1, window=400, dtype=mx.float32),
    "1500 keys in 8 parts": Case(1500, 2048, cores=40),
}


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_right_and_clean(case: Case) -> None:
    arguments = case.arguments()
    with recorded("trace"):
        got = attend(*arguments, case.cores, variant=())
    assert got.dtype == case.dtype
    assert got.shape == arguments[0].shape
    assert reference.attend(*arguments).worst(got) < 1


@pytest.mark.parametrize("case", SMALL.values(), ids=SMALL)
def test_the_definition_is_the_same(case: Case) -> None:
    arguments = replace(case, dtype=mx.float32).arguments()
    assert reference.attend(*arguments).worst(attend(*arguments)) < 1


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "nofma"}, {"lanes": "reversed"}, {"flush_denormals": True}],
    ids=["fast", "no fma", "lanes reversed", "denormals flushed"],
)
@pytest.mark.parametrize(
    "case",
    [
        Case(8192, 8192, heads=16, kv_heads=2, cores=80),
        Case(131, 144, tokens=4, start=1, cuts=(100, 127), window=128),
        Case(1500, 2048, cores=40, dtype=mx.float32),
    ],
    ids=["8192 keys in 32 parts", "4 tokens over three buffers", "1500 keys, float32"],
)
def test_right_in_every_mode(case: Case, options: dict[str, Any]) -> None:
    arguments = case.arguments()
    with recorded(**options):
        got = attend(*arguments, case.cores, variant=())
    assert reference.attend(*arguments).worst(got) < 1


@pytest.mark.parametrize("window", [None, 128])
def test_reads_each_key_and_value_once_from_memory(window: int | None) -> None:
    """The two blocks of 4 queries ask for the same lines, of which each load asks no more than it needs."""
    case = Case(700, 1024, window=window)
    with recorded("trace") as recorder:
        attend(*case.arguments(), case.cores, variant=())
    report, *merged = recorder.reports
    seen = 8 * 64 * 2 * (window or case.keys)
    for name in ("keys", "values"):
        traffic = report.traffic[name]
        assert traffic.distinct_bytes == seen
        assert traffic.loads.lines64 == traffic.loads.ideal64
        assert traffic.loads.bytes <= 2.2 * seen  # steps of 32 keys end in a part's last key
    assert len(merged) == (window is None)
    for each in recorder.reports:
        attended = each.traffic["attended"]
        assert (attended.written_once, attended.rewritten) == (each.outputs[0].size, 0)


def test_each_key_is_read_where_it_lies_and_nowhere_else() -> None:
    """Of three buffers, each for its own keys alone."""
    case = Case(300, 200, heads=8, kv_heads=1, cuts=(200, 290), dtype=mx.float32)
    with recorded("trace") as recorder:
        attend(*case.arguments(), case.cores, variant=())
    traffic = recorder.reports[0].traffic
    for name, count in (("keys", 200), ("tail_keys", 90), ("new_keys", 10)):
        for kind in (name, name.replace("keys", "values")):
            assert traffic[kind].distinct_bytes == count * 64 * 4


def test_a_part_without_keys_weighs_nothing() -> None:
    """33 keys in 4 parts of 32: the last two have none."""
    case = Case(33, 64, heads=8, kv_heads=1, dtype=mx.float32)
    arguments = case.arguments()
    with recorded("trace") as recorder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("metal.attend.splits", lambda *_: 4)
        got = attend(*arguments, variant=())
    assert reference.attend(*arguments).worst(got) < 1
    parts = np.array(recorder.reports[0].outputs[0])
    assert np.all(parts[2:, ..., :64] == 0)
    assert np.all(parts[2:, ..., 65] == 0)


def test_a_growing_cache_compiles_nothing_anew() -> None:
    def texts(keys: range) -> set[tuple[object, ...]]:
        calls: list[Call] = []
        for length in keys:
            with recorded() as recorder:
                case = Case(length, 1024, heads=4, kv_heads=2, cuts=(length - 1,) if length > 1 else ())
                attend(*case.arguments(), variant=())
            calls += recorder.calls
        return {(call.kernel.name, call.parameters) for call in calls}

    assert len(texts(range(1, 256, 50))) == 1
    assert len(texts(range(300, 1024, 200))) == 2  # attend in parts, merge


def launched(case: Case) -> list[Call]:
    """The calls that a case makes, none of which is run."""
    calls: list[Call] = []

    def executor(call: Call) -> list[mx.array]:
        calls.append(call)
        return [mx.zeros(shape, dtype) for shape, dtype in zip(call.output_shapes, call.output_dtypes, strict=True)]

    with executed_by(executor):
        attended = attend(*case.arguments(), case.cores, variant=())
    assert (attended.shape, attended.dtype) == ((case.tokens, case.heads, 64), case.dtype)
    return calls


# Simdgroups that walk the same keys for each block of four queries, so that they are eight, or as near as that comes.
STRIPS = {1: 4, 2: 4, 3: 2, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1}


@pytest.mark.parametrize("tokens", [1, 2, 3, 4])
@pytest.mark.parametrize("group", range(1, 9))
def test_a_threadgroup_is_what_the_registers_hold(group: int, tokens: int) -> None:
    """256 threads at most: of 512 only one would fit on a core."""
    case = Case(200, 256, heads=2 * group, kv_heads=2, tokens=tokens)
    (call,) = launched(case)
    parameters = dict(call.parameters)
    blocks = -(-group * tokens // 4)
    assert parameters["STRIPS"] == STRIPS[blocks]
    assert call.threadgroup == (32 * blocks * STRIPS[blocks], 1, 1)
    assert call.threadgroup[0] <= 256
    assert call.grid == (2 * call.threadgroup[0], 1, 1)
    assert (parameters["TOKENS"], parameters["GROUP"], parameters["WINDOW"]) == (tokens, group, 0)


@pytest.mark.parametrize(("window", "keys", "parts"), [(None, 256, 1), (None, 257, 2), (400, 700, 2), (128, 2000, 1)])
def test_keys_are_split_by_what_is_seen(window: int | None, keys: int, parts: int) -> None:
    """The newest `window` keys and those of the tokens; parts are merged by a second launch, in float32 until then."""
    calls = launched(Case(keys, 2048, heads=8, kv_heads=1, window=window))
    assert [call.kernel.name for call in calls] == ["attend", "merge"][: 1 + (parts > 1)]
    parameters = dict(calls[0].parameters)
    assert calls[0].grid[1] == parts
    assert (parameters["SPLIT"], parameters["WINDOW"]) == (parts > 1, window or 0)
    assert parameters["O"] == calls[0].output_dtypes[0] == (mx.float32 if parts > 1 else mx.bfloat16)
    assert calls[0].output_shapes == ((parts, 1, 8, 66) if parts > 1 else (1, 8, 64),)
    assert calls[-1].threadgroup[0] == (32 if parts > 1 else 256)
    assert parts == 1 or calls[1].grid == (32 * 8, 1, 1), "a simdgroup merges one head"


@pytest.mark.parametrize(("tokens", "parts"), [(1, 1), (2, 2)])
def test_a_window_reaches_further_back_for_the_first_of_several_tokens(tokens: int, parts: int) -> None:
    calls = launched(Case(2000, 2048, heads=8, kv_heads=1, window=256, tokens=tokens))
    assert calls[0].grid[1] == parts


@pytest.mark.parametrize("cores", [0, 7, 10, 40, 80])
@pytest.mark.parametrize("kv_heads", [1, 2, 8])
def test_splits(cores: int, kv_heads: int) -> None:
    chosen = [splits(keys, kv_heads, cores) for keys in range(1, 20000, 37)]
    assert chosen == sorted(chosen)
    assert chosen[0] == splits(256, kv_heads, cores) == 1
    assert all(parts & (parts - 1) == 0 and parts <= 32 for parts in chosen)
    assert all(parts * 128 <= keys for keys, parts in zip(range(1, 20000, 37), chosen, strict=True) if parts > 1)


def test_splits_of_gpt_oss() -> None:
    assert [splits(8192, 8, cores) for cores in (8, 10, 20, 40, 80)] == [8, 8, 16, 32, 32]


def test_why_not() -> None:
    def objection(heads: int = 64, kv_heads: int = 8, head_dim: int = 64, dtype: mx.Dtype = mx.bfloat16) -> str | None:
        return why_not(heads=heads, kv_heads=kv_heads, head_dim=head_dim, dtype=dtype)

    assert objection() is None
    assert "head_dim is 80" in (objection(head_dim=80) or "")
    assert "up to 8" in (objection(kv_heads=4) or "")
    assert "up to 8" in (objection(kv_heads=7) or "")
    assert "activations" in (objection(dtype=mx.int8) or "")
