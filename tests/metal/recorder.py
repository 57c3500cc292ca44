"""Runs what the program computes with its kernels on the bench, and keeps the report of each launch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx

from metal.launch import Call, executed_by
from tests.metal import bench
from tests.metal.bench.compiler import Mode


class Recorder:
    """Executes calls on the bench; `calls` and `reports` are those of its launches, in their order."""

    def __init__(self, mode: Mode, options: dict[str, Any]) -> None:
        self._mode = mode
        self._options = options
        self.calls: list[Call] = []
        self.reports: list[bench.Report] = []

    def __call__(self, call: Call) -> list[mx.array]:
        report = bench.run_kernel(call, self._mode, **self._options)
        assert report.findings == [], call.kernel.name
        self.calls.append(call)
        self.reports.append(report)
        return report.outputs


@contextmanager
def recorded(mode: Mode = "fast", **options: Any) -> Iterator[Recorder]:
    """Within this context, kernels run on the bench, must be clean, and leave their reports."""
    recorder = Recorder(mode, options)
    with executed_by(recorder):
        yield recorder
