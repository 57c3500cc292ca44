"""The kernels of the mixture of experts at the true sizes of gpt-oss-20b: what they compute, and what they read.

Traffic is counted as the lanes ask for it, in lines of 64 bytes, beside that of the kernel MLX runs in their place.
"""

from typing import NamedTuple

import mlx.core as mx
import numpy as np
import pytest

from metal.launch import Call, executed_by
from metal.weights import Mixture
from tests import msl as bench
from tests.fixtures import reference
from tests.metal.test_experts import MODES, assert_right, bits, random_rows, steps
from tests.msl.mlx_kernels import gather_qmv
from tests.msl.report import Report

HIDDEN, INTERMEDIATE, EXPERTS, TOP_K = 2880, 2880, 32, 4

MATRICES = [("gate_up", 2 * INTERMEDIATE, HIDDEN), ("down", HIDDEN, INTERMEDIATE)]
"""Kernel, rows and columns of an expert's matrix."""


class Traced(NamedTuple):
    mixture: Mixture
    x: mx.array
    found: tuple[mx.array, ...]
    reports: dict[str, Report]


@pytest.fixture(scope="module")
def traced() -> Traced:
    mixture = reference.random_mixture(HIDDEN, INTERMEDIATE, EXPERTS, TOP_K, mx.bfloat16)
    x = random_rows(1, HIDDEN, mx.bfloat16)
    reports: dict[str, Report] = {}

    def execute(call: Call) -> list[mx.array]:
        report = reports[call.kernel.name] = bench.run_kernel(call, "trace")
        assert report.findings == []
        return report.outputs

    with executed_by(execute):
        return Traced(mixture, x, steps(x, mixture), reports)


def test_right(traced: Traced) -> None:
    assert_right(traced.found, traced.x, traced.mixture)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_bits(traced: Traced, mode: str) -> None:
    with executed_by(bench.executor(**MODES[mode])):
        assert bits(steps(traced.x, traced.mixture)) == bits(traced.found)


@pytest.mark.parametrize(("kernel", "rows", "columns"), MATRICES)
def test_weights_are_read_once(traced: Traced, kernel: str, rows: int, columns: int) -> None:
    """All of the four experts' weights and nothing else, in close to the fewest lines, none by two simdgroups."""
    blocks, scales = (traced.reports[kernel].traffic[name] for name in ("blocks", "scales"))
    assert blocks.distinct_bytes == TOP_K * rows * columns // 2
    assert scales.distinct_bytes == TOP_K * rows * columns // 32
    assert blocks.loads.lines64 <= 1.1 * blocks.distinct_bytes / 64
    assert blocks.loads.lines128 <= 1.2 * blocks.distinct_bytes / 128  # a pass is 512 bytes, at any multiple of 16
    assert blocks.shared_lines64 == blocks.shared_lines128 == 0
    assert blocks.loads.by_width == {1: 0, 2: 0, 4: 0, 8: 0, 16: blocks.loads.bytes // 16}


@pytest.mark.parametrize(("kernel", "rows", "columns"), MATRICES)
def test_line_bytes_asked_for_each_byte_of_weights(traced: Traced, kernel: str, rows: int, columns: int) -> None:
    """At most 2.2, all buffers together, where MLX's own kernel asks for over 10."""
    report = traced.reports[kernel]
    weights = sum(report.traffic[name].distinct_bytes for name in ("blocks", "scales"))
    assert report.line_bytes(*report.traffic) <= 2.2 * weights

    # An eighth of the rows is enough for a ratio.
    matrix = getattr(traced.mixture, kernel)
    x = random_rows(1, columns, mx.bfloat16)[0]
    call, text = gather_qmv(
        x, matrix.blocks[:4, : rows // 8], matrix.scales[:4, : rows // 8], mx.arange(4).astype(mx.uint32)
    )
    peer = bench.run_kernel(call, "trace", text=text)
    assert peer.findings == []
    peer_weights = sum(peer.traffic[name].distinct_bytes for name in ("w", "scales"))
    assert peer_weights == weights // 8
    assert peer.line_bytes("w", "scales", "x") > 10 * peer_weights
    assert peer.traffic["w"].loads.lines64 > 2.5 * peer.traffic["w"].distinct_lines64


@pytest.mark.parametrize(
    ("kernel", "outputs"), [("route", ("normed", "logits")), ("gate_up", ("hidden",)), ("down", ("y",))]
)
def test_outputs_are_written_once(traced: Traced, kernel: str, outputs: tuple[str, ...]) -> None:
    for name in outputs:
        traffic = traced.reports[kernel].traffic[name]
        assert traffic.written_once > 0
        assert traffic.unwritten == traffic.rewritten == traffic.atomics == 0


def test_route_reads_the_router_once(traced: Traced) -> None:
    router = traced.reports["route"].traffic["router"]
    assert router.distinct_bytes == router.loads.bytes == EXPERTS * HIDDEN * 2
    assert router.loads.lines64 == router.distinct_lines64
    assert router.shared_lines64 == 0


def test_barriers(traced: Traced) -> None:
    """One a threadgroup of down, where the slots meet; none elsewhere."""
    barriers = {name: report.threadgroup_barriers for name, report in traced.reports.items()}
    assert barriers == {"route": 0, "gate_up": 0, "down": HIDDEN // 4}
    assert np.isfinite(reference.numbers(traced.found[-1])).all()
