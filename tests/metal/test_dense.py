"""The dense kernels against float64: every format, dtype and number of tokens, sizes of gpt-oss-20b and odd ones."""

from dataclasses import replace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from metal import dense
from metal.formats import MXFP4, Packing
from metal.weights import Adapter, Head, Matrix, Projections
from tests.fixtures import reference_dense as reference
from tests.fixtures.dense_models import EPS, FORMATS, Random, aligned, geometry
from tests.fixtures.recorder import recorded
from tests.msl.compiler import Mode

DTYPES = (mx.bfloat16, mx.float16, mx.float32)
QUANTISED = (8, 6, 4)


def name(form: mx.Dtype | int) -> str:
    return f"{form} bits" if isinstance(form, int) else str(form).removeprefix("mlx.core.")


@pytest.mark.parametrize("bits", QUANTISED)
def test_the_reference_unpacks_as_mlx_does(bits: int) -> None:
    matrix = Random().matrix(32, 192, bits)
    assert matrix.scales is not None and matrix.offsets is not None
    scales, offsets = matrix.scales.astype(mx.float32), matrix.offsets.astype(mx.float32)
    unpacked = mx.dequantize(matrix.weight, scales, offsets, group_size=64, bits=bits)
    assert np.abs(reference.exact(unpacked) - reference.weights(matrix)).max() < 1e-6


@pytest.mark.parametrize("form", FORMATS, ids=name)
@pytest.mark.parametrize("dtype", DTYPES, ids=name)
def test_qkv_in_every_format_and_dtype(form: mx.Dtype | int, dtype: mx.Dtype) -> None:
    """5 groups of 64 columns, so that the only pass has idle lanes at 16 weights a lane and there are two at 8."""
    tokens = 1 + (FORMATS.index(form) + DTYPES.index(dtype)) % 4
    random = Random()
    layer, x = random.projections(320, 6, 2, form), random.normal(tokens, 320, dtype=dtype, scale=3)
    angles = random.angles(tokens)
    with recorded():
        got = dense.qkv(x, layer, *angles, geometry(4))
    for values, expected in zip(got, reference.qkv(x, layer, *angles), strict=True):
        assert values.dtype == dtype
        assert values.shape == expected.values.shape
        assert expected.worst(values) < 1
    if dtype == mx.float32:
        # MLX's operations define the result; on a CPU they sum in x's dtype, so only float32 is comparable.
        same(got, dense.qkv(x, layer, *angles))


@pytest.mark.parametrize("form", FORMATS, ids=name)
def test_o_proj_and_lm_head_in_every_format(form: mx.Dtype | int) -> None:
    dtype, tokens = DTYPES[FORMATS.index(form) % 3], 1 + FORMATS.index(form) % 4
    random = Random()
    layer, head = random.projections(320, 6, 2, form), random.head(320, 64, form)
    x, attended = random.normal(tokens, 320, dtype=dtype, scale=3), random.normal(tokens, 384, dtype=dtype)
    with recorded():
        projected = dense.o_proj(attended, x, layer, geometry(2))
        logits = dense.lm_head(x, head, geometry(4))
    assert reference.o_proj(attended, x, layer).worst(projected) < 1
    assert reference.lm_head(x, head).worst(logits) < 1
    if dtype == mx.float32:
        same((projected, logits), (dense.o_proj(attended, x, layer), dense.lm_head(x, head)))


def same(by_kernel: tuple[mx.array, ...], by_mlx: tuple[mx.array, ...]) -> None:
    for got, expected in zip(by_kernel, by_mlx, strict=True):
        assert got.shape == expected.shape
        assert mx.abs(got - expected).max() < 1e-5 * mx.abs(expected).max()


@pytest.mark.parametrize(
    ("columns", "form"),
    [(32, mx.bfloat16), (64, 4), (256, 8), (1024, 6), (3072, mx.float32), (4096, 4), (2880, mx.float16)],
    ids=str,
)
def test_row_lengths(columns: int, form: mx.Dtype | int) -> None:
    """One chunk for a few lanes, whole passes, and a ragged last one."""
    random = Random()
    head, x = random.head(columns, 96, form), random.normal(2, columns, dtype=mx.bfloat16, scale=30)
    with recorded("trace"):
        logits = dense.lm_head(x, head, geometry(8))
    assert reference.lm_head(x, head).worst(logits) < 1


def test_small_inputs_are_normed_with_eps() -> None:
    """Their mean square is a tenth of eps."""
    random = Random()
    head, x = random.head(320, 64, 8), random.normal(1, 320, scale=1e-3)
    with recorded():
        logits = dense.lm_head(x, head, geometry(4))
    assert reference.lm_head(x, head).worst(logits) < 1


@pytest.mark.parametrize("flush", [False, True], ids=["", "denormals flushed"])
@pytest.mark.parametrize("bits", QUANTISED)
def test_every_code_in_every_place_is_exact(bits: int, flush: bool) -> None:
    """Integer codes times small integers stay below 2^24, so that float32 sums have no rounding at all."""
    rows, columns = 256, 320
    codes = (np.arange(rows)[:, None] + np.arange(columns)) % 2**bits
    spread = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(rows, -1)
    packed = mx.array(np.packbits(spread, axis=-1, bitorder="little").view(np.uint32))
    scales = mx.ones((rows, columns // 64))
    x = mx.array(np.random.default_rng(0).integers(-8, 9, (1, columns)).astype(np.float32))
    packing = Packing("affine", bits, 64)
    layer = projections_with(output=Matrix(packed, mx.zeros(rows), scales, 0 * scales, packing))
    with recorded(flush_denormals=flush):
        y = dense.o_proj(x, mx.zeros((1, rows)), layer, geometry(2))
    assert np.array_equal(np.array(y)[0], codes @ np.array(x)[0])


def test_first_and_last_head_of_each_matrix() -> None:
    """Position 0 turns nothing: queries and keys are then plain products, like values."""
    random = Random()
    layer, x = random.projections(64, 4, 2, mx.float32), random.normal(1, 64)
    still = mx.ones((1, 32)), mx.zeros((1, 32))
    with recorded():
        q, k, v = dense.qkv(x, layer, *still, geometry(2))
    normed = mx.fast.rms_norm(x, layer.norm.astype(mx.float32), EPS)
    for got, matrix in ((q, layer.query), (k, layer.key), (v, layer.value)):
        assert mx.allclose(got.reshape(1, -1), matrix(normed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", [mx.bfloat16, 8, 6, 4], ids=name)
def test_variants_give_the_same_bits(form: mx.Dtype | int) -> None:
    random = Random()
    head, x = random.head(320, 96, form), random.normal(3, 320)
    with recorded():
        first, *others = [dense.lm_head(x, head, geometry(*variant)) for variant in ((4, 2), (8, 2), (4, 4), (1, 2))]
    assert all(mx.array_equal(first, other) for other in others)


def test_variants_of_the_attention_give_the_same_bits() -> None:
    random = Random()
    layer, x, attended = random.projections(320, 4, 2, 8), random.normal(3, 320), random.normal(3, 256)
    angles = random.angles(3)
    with recorded():
        four, two = ([*dense.qkv(x, layer, *angles, geometry(rows))] for rows in (4, 2))
        first, *others = [dense.o_proj(attended, x, layer, geometry(*variant)) for variant in ((2, 2), (1, 4), (4, 2))]
    assert all(mx.array_equal(*pair) for pair in zip(four, two, strict=True))
    assert all(mx.array_equal(first, other) for other in others)


def test_contraction_to_fma_changes_no_bit() -> None:
    """It is the GPU compiler's choice; kernels write out where they want it."""
    random = Random()
    layer, x, attended = random.projections(320, 4, 2, 8), random.normal(3, 320), random.normal(3, 256)
    angles = random.angles(3)

    def results(mode: Mode) -> list[mx.array]:
        with recorded(mode):
            return [*dense.qkv(x, layer, *angles, geometry(4)), dense.o_proj(attended, x, layer, geometry(2))]

    with_fma, without = results("fast"), results("nofma")
    assert all(mx.array_equal(*pair) for pair in zip(with_fma, without, strict=True))


@pytest.mark.parametrize("form", [mx.bfloat16, mx.float32, 8, 6, 4], ids=name)
def test_mapped_weights_give_the_same_bits(form: mx.Dtype | int) -> None:
    """At addresses that are multiples of 8 or of 4 bytes alone. Loads wider than that are findings of the trace, except
    packed ones, which take 16 bytes at once wherever a chunk has as many."""
    random = Random()
    layer, x, angles = random.projections(320, 2, 1, form), random.normal(1, 320), random.angles(1)
    with recorded():
        expected = dense.qkv(x, layer, *angles, geometry(4))
    mapped = ["norm", *(f"{each}_weight" for each in ("query", "key", "value"))]
    for alignment in (8, 4):
        with recorded("trace", misalign=dict.fromkeys(mapped, alignment)):
            got = dense.qkv(x, aligned(layer, alignment), *angles, geometry(4))
        assert all(mx.array_equal(*pair) for pair in zip(got, expected, strict=True))
    with recorded("trace", misalign=dict.fromkeys(mapped, 4)) as packed:
        got = dense.qkv(x, aligned(layer, 4), *angles, (*geometry(4), ("PACKED", 1)))
    assert all(mx.array_equal(*pair) for pair in zip(got, expected, strict=True))
    if form not in (6, 4):  # of 12 and 8 bytes
        loads = packed.reports[0].traffic["query_weight"].loads
        assert loads.by_width[16] * 16 == loads.bytes


ADAPTER = Adapter(mx.zeros((2, 64)), mx.zeros((64, 2)), 1.0)


def projections_with(**changes: Any) -> Projections:
    return replace(Random().projections(64, 2, 1, mx.bfloat16), **changes)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (projections_with(), None),
        (Random().projections(64, 2, 1, 4), None),
        (projections_with(output=Random().matrix(80, 128, mx.bfloat16)), "80 x 128"),
        (projections_with(output=Random().matrix(64, 128, mx.bfloat16, bias=False)), "no bias"),
        (projections_with(key=Random().matrix(64, 64, mx.float16)), "different formats"),
        (Head(mx.ones(320), EPS, replace(Random().matrix(64, 320, 6), packing=Packing("affine", 5, 64))), "5 bits"),
        (Head(mx.ones(64), EPS, replace(Random().matrix(64, 64, 4), packing=MXFP4)), "mxfp4 at 4 bits"),
        (Head(mx.ones(64), EPS, replace(Random().matrix(64, 64, 4), packing=Packing("affine", 4, 32))), "groups of 32"),
        (projections_with(value=replace(Random().matrix(64, 64, mx.bfloat16), adapter=ADAPTER)), "has an adapter"),
        (Head(mx.ones(64), EPS, replace(Random().matrix(64, 64, 8), alignment=2)), "2 bytes"),
        (Head(mx.ones(64), EPS, replace(Random().matrix(64, 64, 8), alignment=12)), "12 bytes"),
        (Head(mx.ones(64), EPS, Random().matrix(1003, 64, mx.float32)), "1003 x 64"),
        (Head(mx.ones(64), EPS, Matrix(mx.broadcast_to(mx.zeros(1), (2**20, 2**12)))), "more weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_not(weights: Projections | Head, reason: str | None) -> None:
    objection = dense.why_not(weights, mx.bfloat16)
    assert objection is None if reason is None else reason in (objection or "")


def test_why_not_for_other_models() -> None:
    assert "activations" in (dense.why_not(projections_with(), mx.int32) or "")
