"""Two to eight rows of activations at once: each gets the bits it gets alone, and weights are read once for all."""

from functools import cache

import mlx.core as mx
import numpy as np
import pytest

from metal.experts import down, gate_up
from metal.lanes import Activations
from metal.launch import Call, executed_by
from tests.fixtures.parts_of_20b import (
    EXPERTS,
    TOP_K,
    Step,
    chosen,
    different,
    modelled,
    of_a_step,
    read,
    traced,
)
from tests.fixtures.reference import random_mixture
from tests.metal.test_experts import bits

BITS = 8


def crowded() -> mx.array:
    """Logits of eight rows: all choose expert 0, four 1, three 2, two 5, in different slots and some with ties."""
    rng, values = np.random.default_rng(0), np.full((8, EXPERTS), -3.0, np.float32)
    others = iter([*range(6, EXPERTS), 3, 4])
    for row in range(8):
        own = [0, *(expert for expert, every in ((1, 2), (2, 3), (5, 5)) if row % every == 0)]
        own += [next(others) for _ in range(TOP_K - len(own))]
        values[row, own] = rng.choice([-2.0, -0.0, 0.0, 1.5], TOP_K)
    return mx.array(values)


@cache
def together(rows: int) -> Step:
    return traced(BITS, crowded(), slice(rows))


@pytest.mark.parametrize("rows", [2, 3, 7, 8])
def test_each_row_gets_the_bits_it_gets_alone(rows: int) -> None:
    found = together(rows).results
    for row in range(rows) if rows == 8 else (rows - 1,):
        for name, expected in traced(BITS, crowded(), slice(row, row + 1)).results.items():
            assert bits(tuple(mx.contiguous(array[row : row + 1]) for array in found[name])) == bits(expected), (
                row,
                name,
            )


@pytest.mark.parametrize("rows", [1, 2, 4, 8])
def test_a_step_reads_what_any_row_needs_once(rows: int) -> None:
    """An expert that more than four rows chose is read once for each four of them."""
    step, logits = together(rows), crowded()[:rows]
    one, (dense, experts) = of_a_step(together(1)), of_a_step(step)
    assert dense.touched == one[0].touched
    router = read(step.reports["route"])
    assert router.asked == rows * router.touched, "it alone is asked for by each row"
    assert dense.asked - one[0].asked == pytest.approx(24 * (rows - 1) * router.touched)
    counts = [sum(expert in own for own in chosen(logits)) for expert in range(EXPERTS)]
    assert experts.touched == pytest.approx(one[1].touched * different(logits) / TOP_K)
    assert experts.asked == pytest.approx(one[1].asked * sum(-(-count // 4) for count in counts) / TOP_K)
    for name in ("gate_up", "down"):
        blocks = step.reports[name].traffic["blocks"].loads
        assert blocks.by_width == {1: 0, 2: 0, 4: 0, 8: 0, 16: blocks.bytes // 16}
    for report, names in zip(step.reports.values(), step.results.values(), strict=True):
        for traffic in [*report.traffic.values()][-len(names) :]:
            assert traffic.unwritten == traffic.rewritten == 0
    expected, touched = modelled(rows, one, different(logits)), dense.touched + experts.touched
    print(f"{rows} rows: {expected / 1e9:.2f} GB modelled, {touched / 1e9:.2f} counted")  # pytest -s shows it
    assert touched == pytest.approx(expected)


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
