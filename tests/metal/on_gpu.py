"""`make metal-check`: the tests of the kernels on a Mac's own GPU, in place of the bench that runs them on a CPU.

    python -m tests.metal.on_gpu [what pytest takes]

The same tests make the same calls and compare with the same references; the calls go through MLX to the GPU. What only
the bench can do (count traffic, trace accesses, shift a buffer, flush denormals, run another text) is skipped there.
Without a Metal GPU it checks nothing and says so; in continuous integration that is a failure.
"""

import os
import sys
from typing import Any, NoReturn

import mlx.core as mx
import pytest

from metal import launch
from metal.launch import Call
from tests import msl as bench
from tests.fixtures import ROOT
from tests.msl import run

_KERNELS = ("metal", "msl", *(f"mlx_model/transformer/test_{name}.py" for name in ("decode", "several_rows")))
_WITHOUT_KERNELS = (
    "msl/test_findings.py",
    "metal/test_on_gpu.py",
    *(f"metal/trust/test_{name}.py" for name in ("select", "failures", "timing")),
)
_FOR_THE_BENCH_ALONE = ("flush_denormals", "misalign", "text")


class GpuReport:
    """What a GPU tells of a run: its outputs, nothing else."""

    def __init__(self, outputs: list[mx.array]) -> None:
        self.outputs = outputs
        self.findings: list[str] = []

    def __getattr__(self, name: str) -> NoReturn:
        pytest.skip(f"{name} is counted by the bench alone")


def run_kernel(call: Call, mode: str = "fast", **options: Any) -> GpuReport:
    """As tests.msl.run_kernel, on the GPU. Modes and orders of lanes are all the same there."""
    for option in _FOR_THE_BENCH_ALONE:
        if options.get(option):
            pytest.skip(f"{option} is for the bench alone")
    outputs = launch.run_with_mlx(call, stream=mx.gpu)
    mx.eval(outputs)
    return GpuReport(outputs)


def pytest_configure() -> None:
    """As a plugin of pytest (-p tests.metal.on_gpu): every test that asks the bench is answered by the GPU."""
    bench.run_kernel = run.run_kernel = run_kernel  # type: ignore[assignment]


def main(arguments: list[str]) -> int:
    """The command; returns its exit code."""
    if not mx.metal.is_available():
        print("There is no Metal GPU here, so nothing was checked. `make test` runs the kernels on the CPU.")
        return int(os.environ.get("CI") == "true")
    folder = ROOT / "tests"
    ignored = [f"--ignore={folder / name}" for name in _WITHOUT_KERNELS]
    return int(
        pytest.main(
            [*(str(folder / name) for name in _KERNELS), "-p", "tests.metal.on_gpu", *ignored, "-rs", *arguments]
        )
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
