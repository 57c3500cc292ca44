"""The dense kernels at gpt-oss-20b's sizes: right in every mode of the bench, and no byte of the weights read twice."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import mlx.core as mx
import pytest

from metal import dense
from metal.weights import Head, Matrix, Projections
from tests.fixtures import reference_dense as reference
from tests.fixtures.dense_models import Random, geometry
from tests.fixtures.recorder import Recorder, recorded
from tests.msl import Report

HIDDEN, HEADS, KV_HEADS = 2880, 64, 8
VOCABULARY = 1024
"""The output matrix's first rows stand for all 201,088."""

MODES: dict[str, dict[str, Any]] = {
    "no fma": {"mode": "nofma"},
    "lanes reversed": {"mode": "trace", "lanes": "reversed"},
    "trace": {"mode": "trace"},
}

_LINES_ASKED = {4: 1.15, 6: 2.4}
"""Lines that loads ask of the first-level cache, as a multiple of those there are, by bits. A row of 2880 weights at 4
bits is 22.5 lines, so that every other row lies across them; a lane's 12 bytes at 6 bits are two loads of one line."""


@dataclass
class Sized:
    """Weights of one format, one token's activations, and what they give."""

    layer: Projections
    head: Head
    x: mx.array
    attended: mx.array
    angles: tuple[mx.array, mx.array]
    expected: tuple[reference.Value, ...]

    def compute(self) -> tuple[mx.array, ...]:
        return (
            *dense.qkv(self.x, self.layer, *self.angles, geometry(4)),
            dense.o_proj(self.attended, self.x, self.layer, geometry(2)),
            dense.lm_head(self.x, self.head, geometry(4)),
        )


@cache
def sized(form: mx.Dtype | int) -> Sized:
    random = Random()
    layer, head = random.projections(HIDDEN, HEADS, KV_HEADS, form), random.head(HIDDEN, VOCABULARY, form)
    x = random.normal(1, HIDDEN, dtype=mx.bfloat16, scale=3)
    attended = random.normal(1, 64 * HEADS, dtype=mx.bfloat16)
    angles = random.angles(1)
    expected = (
        *reference.qkv(x, layer, *angles),
        reference.o_proj(attended, x, layer),
        reference.lm_head(x, head),
    )
    return Sized(layer, head, x, attended, angles, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", [mx.bfloat16, 8], ids=["bfloat16", "8 bits"])
def test_right_in_every_mode(form: mx.Dtype | int, mode: str) -> None:
    case = sized(form)
    with recorded(**MODES[mode]) as recorder:
        results = case.compute()
    for got, expected in zip(results, case.expected, strict=True):
        assert expected.worst(got) < 1
    if mode == "trace":
        check_traffic(case, recorder)


@pytest.mark.parametrize("form", [6, 4], ids=["6 bits", "4 bits"])
def test_right_and_clean_at_few_bits(form: int) -> None:
    case = sized(form)
    with recorded("trace") as recorder:
        results = case.compute()
    for got, expected in zip(results, case.expected, strict=True):
        assert expected.worst(got) < 1
    check_traffic(case, recorder)


def check_traffic(case: Sized, recorder: Recorder) -> None:
    qkv, o_proj, lm_head = recorder.reports
    for which in ("query", "key", "value"):
        check_weights(qkv, getattr(case.layer, which), f"{which}_")
    check_weights(o_proj, case.layer.output, "")
    check_weights(lm_head, case.head.matrix, "")
    for report, call in zip(recorder.reports, recorder.calls, strict=True):
        for name, array in zip(call.kernel.outputs, report.outputs, strict=True):
            assert report.traffic[name].written_once == array.size
            assert report.traffic[name].rewritten == 0
        # x, and the norm's weight, are read by every simdgroup, from the caches: with four rows that is a bearable
        # share of what the rows themselves ask for.
        matrices = [name for name in call.kernel.inputs if name.endswith("weight")]
        weight_bytes = sum(report.traffic[name].distinct_bytes for name in matrices)
        vectors = [name for name in ("x", "norm") if name in call.kernel.inputs]
        assert report.line_bytes(*vectors) < 4.1 * weight_bytes


def check_weights(report: Report, matrix: Matrix, prefix: str) -> None:
    weight, bits = report.traffic[f"{prefix}weight"], matrix.packing.bits if matrix.packing is not None else 16
    assert weight.distinct_bytes == matrix.weight.nbytes
    assert 64 * weight.distinct_lines64 <= 1.01 * matrix.weight.nbytes
    assert weight.loads.lines64 <= _LINES_ASKED.get(bits, 1.1) * matrix.weight.nbytes / 64
    assert weight.loads.bytes <= 1.1 * matrix.weight.nbytes  # idle lanes read the row's last chunk again
    # Rows of two simdgroups meet in a line where two rows are no multiple of 64 bytes: 4320 at 6 bits.
    assert weight.shared_lines64 <= (0.01 * weight.distinct_lines64 if bits == 6 else 0)
    for name in ("scales", "offsets"):
        if (array := getattr(matrix, name)) is not None:
            assert report.traffic[f"{prefix}{name}"].distinct_bytes == array.nbytes


def test_four_tokens_read_the_weights_once() -> None:
    random, case = Random(1), sized(8)
    x, angles = random.normal(4, HIDDEN, dtype=mx.float16), random.angles(4)
    with recorded("trace") as recorder:
        results = dense.qkv(x, case.layer, *angles, geometry(4))
    for got, expected in zip(results, reference.qkv(x, case.layer, *angles), strict=True):
        assert expected.worst(got) < 1
    for which in ("query", "key", "value"):
        check_weights(recorder.reports[0], getattr(case.layer, which), f"{which}_")
