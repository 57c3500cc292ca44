"""What decides whether the experts' kernels are used: conditions, the self-test, and the trial for metal.trust."""

import re
from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from metal import experts
from metal.experts import why_not
from metal.lanes import Activations, lane_order
from metal.launch import Call, executed_by
from metal.operation import Operation
from metal.trust.candidates import expert_operations
from metal.trust.check import compared
from metal.trust.selftest import decodes_fp4
from metal.weights import Mixture
from tests import msl as bench
from tests.fixtures.reference import random_mixture

DTYPES = [mx.bfloat16, mx.float16, mx.float32]


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return random_mixture(128, 64, 8, 2)


def test_nothing_speaks_against_ordinary_weights(mixture: Mixture) -> None:
    assert all(why_not(mixture, dtype) is None for dtype in DTYPES)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm": mx.ones((130,))}, "multiples of 32"),
        ({"top_k": 9}, "9 of 8 experts"),
        ({"top_k": 0}, "0 of 8 experts"),
        ({"router": mx.zeros((129, 128))}, "129 experts"),
        ({"alignment": 2}, "2 bytes"),
        ({"norm": mx.full((128,), 5790.0)}, "norm weight"),
        ({"norm": mx.full((128,), float("nan"))}, "norm weight"),
        ({"limit": 256.0}, "SwiGLU limit"),
        ({"limit": float("inf")}, "SwiGLU limit"),
    ],
)
def test_what_speaks_against_the_kernels(mixture: Mixture, changes: dict[str, Any], reason: str) -> None:
    assert reason in (why_not(replace(mixture, **changes), mx.bfloat16) or "")


@pytest.mark.parametrize("matrix", ["gate_up", "down"])
def test_scales_and_alignment_of_both_matrices(mixture: Mixture, matrix: str) -> None:
    scales = np.array(getattr(mixture, matrix).scales)
    for byte, reason in ((240, None), (241, "scale byte"), (255, "scale byte")):
        scales[-1, -1, -1] = byte
        changed = replace(getattr(mixture, matrix), scales=mx.array(scales))
        found = why_not(replace(mixture, **{matrix: changed}), mx.bfloat16)
        assert found is None if reason is None else reason in (found or "")
    mapped = {matrix: replace(getattr(mixture, matrix), alignment=2)}
    assert "2 bytes" in (why_not(replace(mixture, **mapped), mx.bfloat16) or "")


def test_integers_are_no_activations(mixture: Mixture) -> None:
    assert "int32" in (why_not(mixture, mx.int32) or "")


@pytest.mark.parametrize("size", [32, 128, 1024, 2880, 3072])
def test_lane_order_is_a_permutation(size: int) -> None:
    assert sorted(lane_order(size)) == list(range(size))
    x = mx.array(np.random.default_rng(0).standard_normal((2, size)).astype(np.float32)).astype(mx.bfloat16)
    lanes = Activations.of(x).lanes()
    assert lanes.dtype == mx.float16
    back = Activations(lanes, mx.bfloat16, in_lanes=True).natural()
    assert mx.array_equal(back, x)


def test_lanes_of_a_simdgroup_load_side_by_side() -> None:
    """Of 2880 values, 90 blocks, each load of a pass takes eight values of every lane's block, without a gap."""
    order = lane_order(2880).reshape(90, 4, 8)
    for lanes, blocks in ((32, slice(0, 32)), (32, slice(32, 64)), (26, slice(64, 90))):
        for word in range(4):
            begins = order[blocks, word].min(axis=-1)
            assert np.array_equal(begins - begins[0], 8 * np.arange(lanes))


def test_self_test() -> None:
    with executed_by(bench.executor("trace")):
        assert decodes_fp4()


def test_self_test_finds_a_gpu_that_flushes_half_denormals() -> None:
    def flushing(call: Call) -> list[mx.array]:
        return [mx.where(mx.abs(y) < 2.0**-14, 0, y) for y in bench.run_kernel(call).outputs]

    with executed_by(flushing):
        assert not decodes_fp4()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_variant_passes_the_trial(dtype: mx.Dtype) -> None:
    """Within the tolerance of MLX's operations, and each with the same bits as the default."""
    for operation in expert_operations(random_mixture(128, 128, 8, 2, dtype), dtype):
        for seed in range(2):
            arguments = operation.arguments(seed)
            expected = operation.run(*arguments, None)
            with executed_by(bench.executor("fast")):
                found = [operation.run(*arguments, variant) for variant in operation.variants]
            assert compared((), found[:1], [expected], operation).problem is None, operation.name
            assert all(mx.array_equal(a, b) for each in found for a, b in zip(each, found[0], strict=True))


@pytest.mark.parametrize(
    ("name", "rows", "kernel", "right", "wrong"),
    [
        ("route", 1, "_ROUTE", "sum / K", "sum"),
        ("gate_up", 1, "_GATE_UP", "bias[first + 2 * i + 1]", "bias[first + 2 * i]"),
        ("down", 1, "_DOWN", "= weight *", "= 1.0f / TOP *"),
        ("gate_up", 8, "_GATE_UP", "tokens[v] = pairs[v] / TOP", "tokens[v] = pairs[0] / TOP"),
        ("gate_up", 8, "_GATE_UP", "other * TOP + slot", "other * TOP"),
        ("down", 8, "_DOWN_ROWS", "weights[at] *", "weights[pairs[0]] *"),
        ("down", 8, "_DOWN_ROWS", "turn++ % TOP != simdgroup", "turn++ % TOP != 0"),
    ],
)
def test_a_wrong_kernel_fails_the_trial(
    mixture: Mixture, monkeypatch: pytest.MonkeyPatch, name: str, rows: int, kernel: str, right: str, wrong: str
) -> None:
    text = getattr(experts, kernel)
    assert right in text.source
    monkeypatch.setattr(experts, kernel, replace(text, source=text.source.replace(right, wrong)))
    operation = named(name, expert_operations(mixture, mx.bfloat16, rows=rows))
    arguments = operation.arguments(0)
    expected = operation.run(*arguments, None)
    with executed_by(bench.executor("fast")):
        found = operation.run(*arguments, operation.variants[0])
    # What a wrong kernel leaves out is NaN on the bench.
    assert re.search("is off by|gives NaN", compared((), [found], [expected], operation).problem or "")


def named(name: str, every: list[Operation]) -> Operation:
    return next(operation for operation in every if operation.name == name)


def test_a_trial_takes_cold_weights(mixture: Mixture) -> None:
    """Experts come in turn, so that a pass of runs goes through all of them before it takes one again."""
    gate_up = named("gate_up", expert_operations(mixture, mx.bfloat16))
    seen = [set(np.argsort(-np.array(gate_up.arguments(seed)[0])[0])[:2].tolist()) for seed in range(4)]
    assert sorted(expert for experts in seen for expert in experts) == list(range(8))


def test_defaults_follow_the_number_of_cores_and_the_self_test(mixture: Mixture) -> None:
    few, many = (named("down", expert_operations(mixture, mx.bfloat16, gpu_cores=cores)) for cores in (10, 80))
    assert (few.variants[0], many.variants[0]) == ((("ROWS", 4), ("TABLE", 0)), (("ROWS", 2), ("TABLE", 0)))
    assert set(few.variants) == set(many.variants)
    for operation in expert_operations(mixture, mx.bfloat16, table=True)[1:]:
        assert all(dict(variant)["TABLE"] == 1 for variant in operation.variants)


def test_where_weights_are_not_at_a_multiple_of_16_packed_loads_are_tried_too(mixture: Mixture) -> None:
    mapped = replace(mixture, gate_up=replace(mixture.gate_up, alignment=8))
    at_16, at_8 = (named("gate_up", expert_operations(each, mx.bfloat16)).variants for each in (mixture, mapped))
    assert at_8 == (*at_16, *((*variant, ("PACKED", 1)) for variant in at_16))
    assert (
        named("down", expert_operations(mapped, mx.bfloat16)).variants
        == named("down", expert_operations(mixture, mx.bfloat16)).variants
    )


def test_bytes_are_those_of_the_chosen_experts(mixture: Mixture) -> None:
    found = {operation.name: operation.weight_bytes for operation in expert_operations(mixture, mx.bfloat16)}
    assert found == {"route": 8 * 128 * 4, "gate_up": 2 * 128 * 128 * 17 // 32, "down": 2 * 128 * 64 * 17 // 32}
