"""How ways are timed, and the report on machine and choice."""

from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from metal.launch import executed_by
from metal.operation import Operation, Variant
from metal.trust.machine import gpu_cores, power
from metal.trust.select import report
from metal.trust.timing import ROUNDS, cold_arguments, seconds_per_run
from tests.metal.trust.gpu import MACHINE, NARROW, ODD, OTHER, WIDE, Choose, Gpu, compile_error


def test_ways_take_turns_there_and_back(gpu: Gpu) -> None:
    operation = gpu.operation()
    arguments = cold_arguments(operation, gpu.clock)
    assert len(arguments) == 4, "256 MiB of weights before the first come again"
    assert len({np.array(x).tobytes() for (x,) in arguments}) == 4
    with executed_by(gpu):
        times = seconds_per_run(operation, [WIDE, NARROW, None], arguments, clock=gpu.clock)
    assert times == {way: pytest.approx(gpu.seconds[way]) for way in (WIDE, NARROW, None)}
    order = gpu.calls[::4]
    assert order[3:9] == [WIDE, NARROW, None, None, NARROW, WIDE]
    assert len(order) == 3 + 6 * ROUNDS


def test_the_least_time_counts_and_the_budget_ends_it(gpu: Gpu) -> None:
    operation = gpu.operation()
    with executed_by(gpu):
        (seconds,) = seconds_per_run(operation, [WIDE], [operation.arguments(0)], clock=gpu.clock, budget_s=0).values()
    assert seconds == pytest.approx(gpu.seconds[WIDE])
    assert len(gpu.calls) == 3


def test_arguments_are_few_where_they_are_large_or_slow(gpu: Gpu) -> None:
    def operation(size: int, seconds: float, weight_bytes: int = 1) -> Operation:
        def arguments(seed: int) -> Sequence[mx.array]:
            gpu.now += seconds
            return [mx.zeros((size,), mx.uint8)]

        return Operation("any", gpu.operation().run, arguments, (WIDE,), 0, weight_bytes)

    def made(operation: Operation) -> int:
        return len(cold_arguments(operation, gpu.clock))

    assert made(operation(1, 0)) == 24
    assert made(operation(1, 0.05)) == 6
    assert made(operation(1, 60)) == 2
    assert made(operation(16 << 20, 0)) == 4
    assert made(operation(1, 0, 1 << 30)) == 2, "two are checked"


def test_a_variant_without_parameters(gpu: Gpu, chosen: Choose) -> None:
    gpu.seconds[()] = 1e-4
    assert chosen(gpu.operation(variants=((),)))["doubled"] == ()
    assert chosen(gpu.operation(variants=((),)))["doubled"] == ()
    assert not gpu.calls


def test_runs_wait_for_each_other(gpu: Gpu) -> None:
    """Each run's first argument hangs on the last result, without changing it."""
    seen: list[float] = []

    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        seen.append(float(np.array(x.sum())))
        return (x * 3,)

    operation = Operation("tripled", run, lambda seed: [mx.full((4,), float(seed + 1))], (WIDE,), 0, 128 << 20)
    seconds_per_run(operation, [WIDE], cold_arguments(operation))
    assert seen[:2] == [4, 8]


def test_the_device_can_not_run_two_side_by_side() -> None:
    """What is no number in a result would reach the next run's argument: that is computed from it."""
    seen: list[float] = []

    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        seen.append(float(np.array(x.sum())))
        return mx.ones(4), mx.full((4,), mx.nan)

    operation = Operation("any", run, lambda seed: [mx.ones((4,))], (WIDE,), 0, 64 << 20)
    seconds_per_run(operation, [WIDE], cold_arguments(operation))
    for first, *others in (seen[at : at + 4] for at in range(0, len(seen), 4)):
        assert first == 4, "each pass begins anew"
        assert np.isnan(others).all()


def test_making_arguments_is_no_part_of_a_run(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are computed where they are made, and where that is slow there are two."""
    evaluate = mx.eval

    def slow(*arrays: object) -> None:
        gpu.now += 1
        evaluate(*arrays)

    monkeypatch.setattr(mx, "eval", slow)
    operation = Operation("any", gpu.operation().run, lambda seed: [mx.ones(4) * 2, 7], (WIDE,), 0, 1)
    assert len(cold_arguments(operation, gpu.clock)) == 2
    assert gpu.now == 2


@pytest.mark.parametrize("first", [7, mx.array([1, 2], mx.uint32)], ids=["a number", "whole numbers"])
def test_what_can_not_wait_is_handed_on_as_it_is(first: object) -> None:
    seen: list[object] = []

    def run(first: object, x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        seen.append(first)
        return (x * 3,)

    operation = Operation("any", run, lambda seed: [first, mx.ones(4)], (WIDE,), 0, 128 << 20)
    seconds_per_run(operation, [WIDE], cold_arguments(operation))
    assert len(seen) > 2
    assert all(each is first for each in seen)


def test_results_may_be_of_another_size_and_dtype() -> None:
    """The first argument keeps its own."""
    seen: list[tuple[tuple[int, ...], mx.Dtype]] = []

    def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
        seen.append((x.shape, x.dtype))
        return mx.zeros((3, 5)), mx.zeros((2, 7), mx.bfloat16)

    operation = Operation("any", run, lambda seed: [mx.ones((4,), mx.float16)], (WIDE,), 0, 128 << 20)
    seconds_per_run(operation, [WIDE], cold_arguments(operation))
    assert set(seen) == {((4,), mx.float16)}


@pytest.mark.parametrize("count", [1, 4])
def test_all_operations_together_take_about_a_second(gpu: Gpu, chosen: Choose, count: int) -> None:
    gpu.seconds = {None: 0.01, WIDE: 0.01}
    start = gpu.now
    chosen(*(gpu.operation(str(number), (WIDE,)) for number in range(count)))
    rounds = ROUNDS * 2 * 2 * 4 * 0.01 * count
    checked_and_warmed = (4 + 2 * 4) * 0.01 * count
    spent = gpu.now - start - checked_and_warmed
    assert spent == pytest.approx(min(rounds, 0.32 * count if count == 4 else rounds))


def test_report(gpu: Gpu, chosen: Choose, path: Path) -> None:
    assert "nothing chosen yet" in report(mode="auto", machine=MACHINE, path=path)
    gpu.fails = {ODD: compile_error}
    chosen(gpu.operation(), gpu.operation("broken", (ODD,)), sizes="2880 x 2880")
    lines = report(mode="auto", machine=MACHINE, path=path).splitlines()
    assert lines[0].startswith("Apple M1 Max, 32 GPU cores, macOS 15.5, MLX 0.32.4")
    assert lines[1] == "2880 x 2880:"
    assert lines[2].startswith(
        "  doubled runs by kernel rows=4: kernel rows=4 100 us, kernel rows=2 200 us, MLX 300 us; "
    )
    assert lines[3].startswith("  broken runs by MLX: RuntimeError: ")
    assert "doubled" not in report(mode="auto", machine=OTHER, path=path)
    assert "GPTOSS_KERNELS=portable" in report(mode="portable", machine=MACHINE, path=path)
    assert "no Metal GPU" in report(path=path)


def test_what_macos_says() -> None:
    assert gpu_cores('    "gpu-core-count" = 32\n') == 32
    assert gpu_cores("") == 0
    assert str(MACHINE) == "Apple M1 Max, 32 GPU cores, macOS 15.5, MLX 0.32.4"
    assert power("Now drawing from 'AC Power'\n", " lowpowermode         0\n") is None
    assert power("Now drawing from 'Battery Power'\n", "") == "it runs on battery"
    assert power("Now drawing from 'Battery Power'\n", " lowpowermode         1\n") == (
        "low power mode is on and it runs on battery"
    )
