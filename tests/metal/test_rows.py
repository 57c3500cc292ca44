"""Two to eight rows of activations at once: each gets the bits it gets alone, and weights are read once for all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import mlx.core as mx
import numpy as np
import pytest

from metal import dense, experts
from metal.experts import down, gate_up
from metal.lanes import Activations
from metal.launch import Call, executed_by
from metal.operation import Variant
from metal.weights import Mixture
from tests import msl as bench
from tests.fixtures.dense_models import Random, geometry
from tests.fixtures.recorder import recorded
from tests.fixtures.reference import aligned_mixture, random_mixture
from tests.metal.test_experts import bits
from tests.msl.report import Report

EXPERTS, TOP_K = 32, 4


@cache
def mixture() -> Mixture:
    """Rows of gpt-oss-20b's length, but few of them: gate_up [32, 192, 2880], down [32, 96, 2880]."""
    columns = random_mixture(2880, 96, EXPERTS, TOP_K, mx.bfloat16)
    rows = random_mixture(96, 2880, EXPERTS, TOP_K, mx.bfloat16)
    return replace(columns, down=rows.down)


def chosen_by(rows: int) -> list[set[int]]:
    """Four experts for each row: 0 by all, 1 by every second, 2 by every third, 5 by every fifth; nobody shares the
    others, while there are any."""
    others = iter([*range(6, EXPERTS), 3, 4])
    found = []
    for row in range(rows):
        own = {0} | {expert for expert in (1, 2, 5) if row % (expert + (expert < 3)) == 0}
        found.append(own | {next(others) for _ in range(TOP_K - len(own))})
    return found


def logits(rows: int) -> mx.array:
    """Of which each row chooses its experts, in an order of its own and some of them with ties."""
    rng, values = np.random.default_rng(rows), np.full((rows, EXPERTS), -3.0, np.float32)
    for row, own in enumerate(chosen_by(rows)):
        values[row, sorted(own)] = rng.choice([-2.0, -0.0, 0.0, 1.5], TOP_K)
    return mx.array(values)


@contextmanager
def each_alone() -> Iterator[None]:
    """One row's kernels, each row of a launch for itself."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(experts, "_MOST_PAIRS", 0)
        yield


def both(rows: int, count: int, weights: Mixture, loads: Variant = ()) -> tuple[mx.array, mx.array]:
    """What gate_up gives in its middle, and down of other activations."""
    rng = Random(rows)
    normed, middle = rng.normal(8, 2880, dtype=mx.bfloat16), rng.normal(8, TOP_K, 2880, dtype=mx.bfloat16)
    residual, scores = rng.normal(8, 96, dtype=mx.bfloat16), logits(rows)
    shape = (("ROWS", count), ("TABLE", 0), *loads)
    hidden = gate_up(Activations.of(normed[:rows]), scores, weights, (("SIMDGROUPS", 2), *shape))
    return hidden.values, down(Activations.of(middle[:rows]), scores, residual[:rows], weights, shape)


@pytest.mark.parametrize(("rows", "count", "packed"), [(2, 4, 0), (3, 2, 1), (8, 2, 0), (8, 4, 0)])
def test_rows_that_share_experts_get_the_bits_that_they_get_alone(rows: int, count: int, packed: int) -> None:
    """Also with packed loads, of weights that lie at multiples of 4."""
    with each_alone(), executed_by(bench.executor("fast")):
        alone = both(rows, 4, mixture())
    with recorded("trace", misalign={"blocks": 4} if packed else {}) as recorder:
        together = both(rows, count, aligned_mixture(mixture(), 4 if packed else 16), (("PACKED", packed),))
    assert bits(together) == bits(alone)
    assert [call.kernel.name for call in recorder.calls] == ["gate_up", "down_rows"]
    for call, report in zip(recorder.calls, recorder.reports, strict=True):
        check_reads(rows, report, columns=2880, out=call.inputs[0].shape[1])
        (output,) = call.kernel.outputs
        assert report.traffic[output].unwritten == report.traffic[output].rewritten == 0


def check_reads(rows: int, report: Report, columns: int, out: int) -> None:
    """The weights of each chosen expert, once for up to four rows, 16 bytes at a time."""
    counts = [sum(expert in own for own in chosen_by(rows)) for expert in range(EXPERTS)]
    matrix = out * columns // 2
    blocks = report.traffic["blocks"]
    assert blocks.distinct_bytes == sum(count > 0 for count in counts) * matrix
    assert blocks.loads.bytes == sum(-(-count // 4) for count in counts) * matrix * 96 // 90  # 6 of 96 lanes idle
    assert blocks.loads.by_width == {1: 0, 2: 0, 4: 0, 8: 0, 16: blocks.loads.bytes // 16}


def test_more_pairs_than_a_simdgroup_has_lanes_are_computed_each_for_itself() -> None:
    calls: list[Call] = []

    def record(call: Call) -> list[mx.array]:
        calls.append(call)
        return [mx.zeros(*output) for output in zip(call.output_shapes, call.output_dtypes, strict=True)]

    few, shape = random_mixture(32, 32, 9, 5, mx.bfloat16), (("ROWS", 4), ("SIMDGROUPS", 2), ("TABLE", 0))
    with executed_by(record):
        for rows in (6, 7):
            scores = mx.zeros((rows, 9))
            hidden = gate_up(Activations.of(mx.zeros((rows, 32), mx.bfloat16)), scores, few, shape)
            down(hidden, scores, mx.zeros((rows, 32), mx.bfloat16), few, shape)
    launched = [(call.kernel.name, dict(call.parameters).get("SHARE")) for call in calls]
    assert launched == [("gate_up", 4), ("down_rows", 4), ("gate_up", 1), ("down", None)]


@pytest.mark.parametrize("form", [mx.bfloat16, 8, 6, 4], ids=str)
def test_dense_rows_get_the_bits_that_they_get_alone(form: mx.Dtype | int) -> None:
    """Each number of rows in a format of its own; the weights are asked for once."""
    rows = {mx.bfloat16: 8, 8: 7, 6: 3, 4: 2}[form]
    random = Random()
    layer, head, angles = random.projections(320, 3, 1, form), random.head(320, 64, form), random.angles(rows)
    x, attended = random.normal(rows, 320, dtype=mx.bfloat16), random.normal(rows, 192, dtype=mx.bfloat16)

    def results(row: slice, height: int) -> list[mx.array]:
        cosines, sines = (each[row] for each in angles)
        q, k, v = dense.qkv(x[row], layer, cosines, sines, geometry(height))
        y = dense.o_proj(attended[row], x[row], layer, geometry(height))
        return [q, k[0].swapaxes(0, 1), v[0].swapaxes(0, 1), y, dense.lm_head(x[row], head, geometry(height))]

    with recorded():
        alone = [results(slice(row, row + 1), 4) for row in range(rows)]
    with recorded("trace") as recorder:
        together = results(slice(rows), 2)
    expected = tuple(mx.concatenate(list(each)) for each in zip(*alone, strict=True))
    assert bits(tuple(together)) == bits(expected)
    chunk, size = (16, 2 * form) if isinstance(form, int) else (8, 16)  # weights of a lane, and bytes
    for call, report in zip(recorder.calls, recorder.reports, strict=True):
        for name, array in zip(call.kernel.inputs, call.inputs, strict=True):
            if name.endswith("weight"):
                columns = dict(call.parameters)["K"]
                assert isinstance(columns, int)
                assert report.traffic[name].distinct_bytes == array.nbytes
                assert report.traffic[name].loads.bytes == len(array) * -(-columns // (32 * chunk)) * 32 * size
