"""The kernels of the mixture of experts against float64, in every mode of the bench, dtype, number of rows and size.

An error is bounded by what the result's own rounding leaves, plus an a-priori bound of float32 summation
(tests/fixtures/reference.py): results in 16 bits are the correctly rounded ones but for that noise. The true sizes of
gpt-oss-20b are in test_experts_20b.py.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from metal.experts import down, expert_layer, gate_up, route
from metal.lanes import Activations
from metal.launch import Call, executed_by
from metal.operation import Variant
from metal.weights import ExpertMatrix, Mixture
from tests import msl as bench
from tests.fixtures import reference
from tests.fixtures.reference import aligned_mixture, excess, random_mixture
from tests.msl.compiler import Mode
from tests.msl.report import Report

DEFAULT: dict[str, Variant] = {
    "route": (("SIMDGROUPS", 1),),
    "gate_up": (("ROWS", 4), ("SIMDGROUPS", 2), ("TABLE", 0)),
    "down": (("ROWS", 4), ("TABLE", 0)),
}
PORTABLE: dict[str, Variant | None] = dict.fromkeys(DEFAULT)

MODES: dict[str, dict[str, Any]] = {
    "nofma": {"mode": "nofma"},
    "reversed": {"mode": "trace", "lanes": "reversed"},
}

ROWS = {mx.bfloat16: 2, mx.float16: 1, mx.float32: 1}

# hidden, intermediate, experts, top_k, rows, dtype
SIZES = {
    **{f"2880-{dtype}": (2880, 96, 32, 4, rows, dtype) for dtype, rows in ROWS.items()},
    **{f"demo-{dtype}": (128, 128, 8, 2, 2 * rows, dtype) for dtype, rows in ROWS.items()},
    "one block, one of four experts": (32, 32, 4, 1, 1, mx.bfloat16),
    "one pass, three of five": (1024, 256, 5, 3, 3, mx.float16),
    "eight of 128": (256, 1024, 128, 8, 2, mx.float32),
    "120b's router": (2880, 32, 128, 4, 1, mx.bfloat16),
    "three full passes": (3072, 64, 32, 4, 1, mx.bfloat16),
    "four full passes": (64, 4096, 6, 5, 1, mx.float16),
}


def random_rows(rows: int, size: int, dtype: mx.Dtype, seed: int = 1) -> mx.array:
    values = np.random.default_rng(seed).standard_normal((rows, size)) * 3
    return mx.array(values.astype(np.float32)).astype(dtype)


def exactly(activations: Activations) -> mx.array:
    """In natural order, not rounded to the model's dtype."""
    return replace(activations, dtype=activations.values.dtype).natural()


def steps(x: mx.array, mixture: Mixture, choice: dict[str, Variant] = DEFAULT) -> tuple[mx.array, ...]:
    """Normed rows, logits, hidden activations and result, each by its kernel."""
    normed, logits = route(x, mixture, choice["route"])
    hidden = gate_up(normed, logits, mixture, choice["gate_up"])
    y = down(hidden, logits, x, mixture, choice["down"])
    return exactly(normed), logits, exactly(hidden), y


def assert_right(found: tuple[mx.array, ...], x: mx.array, mixture: Mixture) -> None:
    """Each step for what the step before gave it, so that bounds don't add up."""
    normed, logits, hidden, y = found
    chosen, weights = reference.top_k(logits, mixture.top_k)
    errors = {
        "normed": excess(normed.astype(x.dtype), reference.normed(x, mixture)),
        "logits": excess(logits, reference.logits(normed, mixture)),
        "hidden": excess(hidden, reference.gate_up(normed, chosen, mixture)),
        "y": excess(y, reference.down(hidden, chosen, weights, x, mixture)),
    }
    assert max(errors.values()) <= 1, errors


@cache
def by_default(name: str) -> tuple[mx.array, Mixture, tuple[mx.array, ...]]:
    hidden, intermediate, experts, top_k, rows, dtype = SIZES[name]
    x, mixture = random_rows(rows, hidden, dtype), random_mixture(hidden, intermediate, experts, top_k, dtype)
    with executed_by(bench.executor("trace")):
        return x, mixture, steps(x, mixture)


def bits(arrays: tuple[mx.array, ...]) -> list[bytes]:
    return [np.array(array.view(mx.uint8)).tobytes() for array in arrays]


@pytest.mark.parametrize("name", SIZES)
def test_every_size_is_right_and_clean(name: str) -> None:
    """Against float64; traced, so that no access is wrong (the executor raises)."""
    x, mixture, found = by_default(name)
    assert_right(found, x, mixture)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SIZES)
def test_every_mode_gives_the_same_bits(name: str, mode: str) -> None:
    """No contraction to fma and no order of lanes matters."""
    x, mixture, expected = by_default(name)
    with executed_by(bench.executor(**MODES[mode])):
        assert bits(steps(x, mixture)) == bits(expected)


def test_weights_may_have_other_dtypes_than_activations() -> None:
    """Norm and router as stored, in bfloat16 and float32, beside float16 activations."""
    mixture = random_mixture(128, 128, 8, 2, mx.bfloat16)
    mixture = replace(mixture, norm=mixture.norm.astype(mx.float32), router_bias=mixture.router_bias.astype(mx.float32))
    x = random_rows(2, 128, mx.float16)
    with executed_by(bench.executor("fast")):
        assert_right(steps(x, mixture), x, mixture)


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_rows_do_not_mix(rows: int) -> None:
    """Each row of a few gives the bits that it gives alone."""
    x, mixture, expected = by_default(f"demo-{mx.bfloat16}")
    with executed_by(bench.executor("fast")):
        assert bits(steps(x[-rows:], mixture)) == bits(tuple(array[-rows:] + 0 for array in expected))


VARIANTS = [
    pytest.param({"route": (("SIMDGROUPS", 4),)}, id="route of 4 simdgroups"),
    *(
        pytest.param(
            {
                "gate_up": (("ROWS", rows), ("SIMDGROUPS", count), ("TABLE", table)),
                "down": (("ROWS", rows), ("TABLE", table)),
            },
            id=f"{rows} rows, {count} simdgroups, table {table}",
        )
        for rows, count, table in ((2, 2, 0), (8, 2, 0), (4, 1, 0), (4, 2, 1))
    ),
]


@pytest.mark.parametrize("mode", ["fast", "nofma"])
@pytest.mark.parametrize("changed", VARIANTS)
def test_variants_are_bit_identical(changed: dict[str, Variant], mode: Mode) -> None:
    x, mixture, expected = by_default(f"2880-{mx.bfloat16}")
    with executed_by(bench.executor(mode)):
        assert bits(steps(x, mixture, DEFAULT | changed)) == bits(expected)


MAPPED = ("blocks", "gain", "router")
PACKED: dict[str, Variant] = {name: (*variant, ("PACKED", 1)) for name, variant in DEFAULT.items()}


@pytest.mark.parametrize("alignment", [8, 4])
def test_weights_of_a_mapped_file(alignment: int) -> None:
    """At addresses that are multiples of 8 or 4 alone: the same bits, and no misaligned access."""
    x, mixture, of_both = by_default(f"2880-{mx.bfloat16}")
    x, expected = x[:1], tuple(array[:1] for array in of_both)
    with displaced(alignment) as narrow:
        assert bits(steps(x, aligned_mixture(mixture, alignment))) == bits(expected)
        with pytest.raises(bench.KernelError, match="align"):
            steps(x, aligned_mixture(mixture, 2 * alignment))
    with displaced(alignment) as packed:
        assert bits(steps(x, aligned_mixture(mixture, alignment), PACKED)) == bits(expected)
    for kernel in ("gate_up", "down"):
        blocks = packed[kernel].traffic["blocks"].loads
        assert blocks.by_width == {1: 0, 2: 0, 4: 0, 8: 0, 16: blocks.bytes // 16}
    # As at a multiple of 16 (test_experts_20b.py), but for the line into which each run reaches.
    assert line_bytes(packed["gate_up"]) < 2.35 < 3.1 < line_bytes(narrow["gate_up"])


def line_bytes(report: Report) -> float:
    """Asked for each byte of weights, weights and activations together."""
    return report.line_bytes("blocks", "scales", "x") / sum(
        report.traffic[name].distinct_bytes for name in ("blocks", "scales")
    )


@contextmanager
def displaced(offset: int) -> Iterator[dict[str, Report]]:
    """Traces, with the weights at `offset` bytes beyond a page; what each kernel did, by its name."""
    reports: dict[str, Report] = {}

    def execute(call: Call) -> list[mx.array]:
        misaligned = {name: offset for name in MAPPED if name in call.kernel.inputs}
        report = reports[call.kernel.name] = bench.run_kernel(call, "trace", misalign=misaligned)
        if report.findings:
            raise bench.KernelError("; ".join(map(str, report.findings)))
        return report.outputs

    with executed_by(execute):
        yield reports


@pytest.mark.parametrize("portable", [p for n in range(4) for p in itertools.combinations(DEFAULT, n)])
def test_each_step_may_run_either_way(portable: tuple[str, ...]) -> None:
    x, mixture, _ = by_default(f"demo-{mx.float32}")
    expected = reference.numbers(expert_layer(x, mixture, PORTABLE))
    with executed_by(bench.executor("fast")):
        found = reference.numbers(expert_layer(x, mixture, DEFAULT | dict.fromkeys(portable)))
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()


def integers(hidden: int, experts: int) -> tuple[mx.array, Mixture]:
    """Hidden activations [1, 2, hidden] and a mixture whose sums of products are exact in float32."""
    mixture = random_mixture(hidden, hidden, experts, 2)
    scales = mx.where(mixture.down.scales % 2 == 0, 127, 125).astype(mx.uint8)
    matrix = ExpertMatrix(mixture.down.blocks, scales, mx.zeros_like(mixture.down.bias))
    return mx.array(np.random.default_rng(2).integers(-9, 10, (1, 2, hidden)).astype(np.float32)), replace(
        mixture, down=matrix
    )


@pytest.mark.parametrize("table", [0, 1])
def test_all_codes_at_all_places_are_exact(table: int) -> None:
    hidden, mixture = integers(128, 8)
    logits = mx.array([[0.0, 5, 0, 0, 0, 0, 5, 0]])
    with executed_by(bench.executor("fast")):
        y = down(Activations.of(hidden), logits, mx.zeros((1, 128)), mixture, (("ROWS", 4), ("TABLE", table)))
    weights = [reference.dequantised(mixture.down, expert) for expert in (1, 6)]
    expected = sum(0.5 * (matrix @ reference.numbers(hidden)[0, slot]) for slot, matrix in enumerate(weights))
    np.testing.assert_array_equal(reference.numbers(y)[0], expected)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize(("first", "exponent"), [(0, 60), (235, -60)])
def test_ends_of_the_range_of_scales(first: int, exponent: int, flush: bool) -> None:
    """Bytes 0 to 5 and 235 to 240, also on a GPU that flushes float32 denormals: 2^-127 is one."""
    mixture = random_mixture(128, 128, 8, 2)
    scales = first + np.random.default_rng(3).integers(0, 6, mixture.down.scales.shape)
    matrix = replace(mixture.down, scales=mx.array(scales.astype(np.uint8)), bias=mx.zeros_like(mixture.down.bias))
    mixture = replace(mixture, down=matrix)
    hidden = random_rows(2, 128, mx.float32)[None] * 2.0**exponent
    logits, residual = random_rows(1, 8, mx.float32), mx.zeros((1, 128))
    with executed_by(bench.executor("fast", flush_denormals=flush)):
        y = down(Activations.of(hidden), logits, residual, mixture, DEFAULT["down"])
    chosen, weights = reference.top_k(logits, 2)
    assert excess(y, reference.down(hidden, chosen, weights, residual, mixture)) <= 1


@pytest.mark.parametrize("size", [30.0, -30.0])
def test_clamps(size: float) -> None:
    """Gates and ups far beyond the limit, on both sides: the largest activation is 7 * 8, and half holds it."""
    x, mixture, _ = by_default(f"demo-{mx.bfloat16}")
    normed, logits = Activations.of(mx.full(x.shape, size, mx.bfloat16)), random_rows(4, 8, mx.float32)
    with executed_by(bench.executor("fast")):
        hidden = exactly(gate_up(normed, logits, mixture, DEFAULT["gate_up"]))
    chosen, _ = reference.top_k(logits, 2)
    assert excess(hidden, reference.gate_up(normed.values, chosen, mixture)) <= 1
    assert reference.numbers(hidden).max() == 56


def test_nan_stays_in_its_row_and_reads_nothing_that_is_not_there() -> None:
    """The choice of experts must not turn it into an index."""
    x, mixture, _ = by_default(f"demo-{mx.bfloat16}")
    x = mx.where(mx.arange(4)[:, None] == 2, float("nan"), x)
    with executed_by(bench.executor("trace")):
        y = np.isnan(reference.numbers(expert_layer(x, mixture, DEFAULT)))
    assert y[2].all()
    assert not y[[0, 1, 3]].any()


@pytest.mark.parametrize("row", [0, 1])
def test_clamps_keep_nan(row: int) -> None:
    """Of gates (even rows) and of ups (odd rows)."""
    x, mixture, _ = by_default(f"demo-{mx.bfloat16}")
    bias = mx.where(mx.arange(256) == 100 + row, float("nan"), mixture.gate_up.bias)
    mixture = replace(mixture, gate_up=replace(mixture.gate_up, bias=bias))
    with executed_by(bench.executor("fast")):
        hidden = exactly(gate_up(Activations.of(x), random_rows(4, 8, mx.float32), mixture, DEFAULT["gate_up"]))
    at = np.isnan(reference.numbers(hidden))
    assert at[..., 50].all()
    assert at.sum() == at[..., 50].size


def telling(experts: int, top_k: int) -> Mixture:
    """Weights 0, and biases by which expert n gives 7 (n / 20 + 1) in its middle and n + 1 at its end."""
    mixture = random_mixture(32, 32, experts, top_k)
    numbers = np.arange(experts, dtype=np.float32)[:, None]
    middle = np.full((experts, 64), 100, np.float32)  # gates; the clamp makes them 7
    middle[:, 1::2] = numbers / 20
    biases = {"gate_up": middle, "down": np.tile(numbers + 1, (1, 32))}
    matrices = {name: getattr(mixture, name) for name in biases}
    return replace(
        mixture,
        **{
            name: replace(matrix, blocks=mx.zeros_like(matrix.blocks), bias=mx.array(biases[name]))
            for name, matrix in matrices.items()
        },
    )


@pytest.mark.parametrize(("experts", "top_k"), [(1, 1), (5, 3), (33, 8), (128, 4)])
def test_choice_of_experts(experts: int, top_k: int) -> None:
    """200 rows of logits with many ties, both zeros and infinity: each slot's expert, and the experts' weights."""
    rng = np.random.default_rng(experts)
    values = rng.choice(np.array([-2.5, -0.0, 0.0, 1.0, 3.25], np.float32), (200, experts))
    values[::3] = rng.standard_normal((67, experts))
    values[1::50, 1:2] = -np.inf
    mixture, logits, zeros = telling(experts, top_k), mx.array(values), mx.zeros((200, 32))
    chosen, weights = reference.top_k(logits, top_k)
    with executed_by(bench.executor("fast")):
        slots = gate_up(Activations.of(zeros), logits, mixture, DEFAULT["gate_up"]).natural()
        y = down(Activations.of(mx.zeros((200, top_k, 32))), logits, zeros, mixture, DEFAULT["down"])
    assert np.abs(reference.numbers(slots) - 7 * (chosen[..., None] / 20 + 1)).max() < 1e-3
    assert np.abs(reference.numbers(y) - (weights * (chosen + 1)).sum(axis=-1, keepdims=True)).max() < 1e-4
