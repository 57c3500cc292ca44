"""What is kept of a kernel that is refused: the compiler's words, the first wrong element; and of one that is right."""

import json
from dataclasses import asdict
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from metal.trust.check import Trial, Wrong, compared, tried, whole_text
from metal.trust.select import Verdict
from tests.metal.trust.gpu import NARROW, ODD, WIDE, Choose, Gpu, compile_error


def test_the_compilers_whole_message_is_kept_and_remembered(gpu: Gpu, chosen: Choose) -> None:
    gpu.fails = {WIDE: compile_error}
    (first,) = chosen(gpu.operation()).verdicts
    refused, right = first.trials
    assert (refused.variant, refused.error, refused.seconds, refused.wrong) == (WIDE, None, None, None)
    assert refused.message == "[metal::Device] Unable to build metal library from source\nerror: expected ';'"
    assert right.problem is right.message is None
    assert right.seconds == pytest.approx(2e-4)
    assert chosen(gpu.operation()).verdicts == (first,), "after it was written and read"
    assert not gpu.calls


def test_a_message_that_is_very_long_is_cut() -> None:
    assert whole_text(RuntimeError("e" * 5000)) == "e" * 4000 + " [5,000 characters in all]"


def test_the_first_wrong_element_is_kept(gpu: Gpu, chosen: Choose) -> None:
    def wrong(y: mx.array) -> mx.array:
        return y.at[mx.array([7, 9])].add(0.25)

    gpu.fails = {WIDE: wrong, NARROW: wrong}
    (verdict,) = chosen(gpu.operation()).verdicts
    x = np.array(mx.random.normal((32,), key=mx.random.key(0)))
    at = verdict.trials[0].wrong
    assert at is not None
    assert (at.arguments, at.result, at.index, at.wrong, at.elements) == (0, 0, (7,), 2, 32)
    assert float(at.expected) == pytest.approx(2 * x[7], rel=1e-8)
    assert float(at.found) == pytest.approx(2 * x[7] + 0.25, rel=1e-6)
    assert verdict.trials[0].error == pytest.approx(0.125 / np.abs(x).max(), rel=1e-5)
    assert verdict.tolerance == 1e-6
    assert chosen(gpu.operation()).verdicts == (verdict,)


@pytest.mark.parametrize(
    ("found", "expected", "index", "values"),
    [
        (mx.array([[1.0, 2.0], [3.0, mx.nan]]), mx.array([[1.0, 2.0], [3.0, 4.0]]), (1, 1), ("4", "nan")),
        (mx.array([1, 2, 3, 5]), mx.array([1, 2, 4, 6]), (2,), ("4", "3")),
        (mx.array([1.0, 2.5], mx.bfloat16), mx.array([1.0, 2.0], mx.bfloat16), (1,), ("2", "2.5")),
    ],
)
def test_where_a_result_is_wrong(
    found: mx.array, expected: mx.array, index: tuple[int, ...], values: tuple[str, str]
) -> None:
    """In the second of the arguments, in the second result."""
    one = mx.ones(3)
    wrong = compared(WIDE, [[one, expected], [one, found]], [[one, expected]] * 2, Gpu().operation()).wrong
    assert wrong is not None
    assert (wrong.arguments, wrong.result, wrong.index) == (1, 1, index)
    assert (wrong.expected, wrong.found) == values


def test_the_greatest_error_of_all_results_is_kept() -> None:
    near, nearer, one = mx.array([1.0, 1 + 2**-20]), mx.array([1.0, 1 + 2**-22]), mx.ones(2)
    trial = compared(WIDE, [[near, nearer], [nearer, one]], [[one, one]] * 2, Gpu().operation())
    assert trial == Trial(WIDE, error=2**-20)


def test_other_shapes_are_named() -> None:
    trial = compared(WIDE, [[mx.ones((2, 3))]], [[mx.ones((3, 2), mx.float16)]], Gpu().operation())
    assert trial.message == "results are mlx.core.float32 [2, 3]; they should be mlx.core.float16 [3, 2]"


def test_the_first_bit_that_differs_is_kept(gpu: Gpu) -> None:
    def last_bit(y: mx.array) -> mx.array:
        return (y.view(mx.uint32) ^ (mx.arange(y.size) == 5)).view(mx.float32)

    def run(x: mx.array, variant: object) -> tuple[mx.array, ...]:
        return (last_bit(x) if variant == NARROW else x,)

    operation = gpu.operation(variants=(WIDE, NARROW, ODD))
    object.__setattr__(operation, "run", run)
    first, other, third = tried(operation, [[mx.ones(8)]], gpu.clock)
    assert first == Trial(WIDE, error=0.0)
    assert third == Trial(ODD, error=0.0)
    assert other.wrong == Wrong(0, 0, (5,), "1", "1.00000012", 1, 8)
    assert other.error == pytest.approx(2**-23)


def test_what_fails_beside_the_variants_is_kept(gpu: Gpu, chosen: Choose) -> None:
    def exhausted(y: mx.array) -> mx.array:
        if gpu.calls.count(WIDE) > 4:
            raise RuntimeError("[malloc] Unable to allocate\n1 GB")
        return y

    gpu.fails = {WIDE: exhausted}
    (verdict,) = chosen(gpu.operation()).verdicts
    assert verdict.message == "[malloc] Unable to allocate\n1 GB"
    assert [trial.problem for trial in verdict.trials] == [None, None], "they were right before"
    assert chosen(gpu.operation()).verdicts == (verdict,)


TRIAL = Trial(WIDE, "off", "text", Wrong(0, 0, (1,), "1", "2", 1, 4), 0.5, 1e-4)


@pytest.mark.parametrize(
    "damage",
    [
        {"variant": 3},
        {"variant": [["rows"]]},
        {"wrong": 1},
        {"wrong": {"index": [1]}},
        {"error": "much"},
        {"seconds": "1"},
        {"problem": 1},
        {"message": []},
        {"more": 1},
    ],
)
def test_a_damaged_trial_is_none(damage: dict[str, Any]) -> None:
    kept = json.loads(json.dumps(asdict(TRIAL)))
    assert Trial.from_json(kept) == TRIAL
    with pytest.raises(ValueError, match="it is no trial"):
        Trial.from_json(kept | damage)


def test_a_verdict_without_metal_has_no_trial(gpu: Gpu, chosen: Choose) -> None:
    assert chosen(gpu.operation(), mode="portable").verdicts == (Verdict("doubled", None, "GPTOSS_KERNELS=portable"),)
