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
