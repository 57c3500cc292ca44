"""MLX's operations multiply by matrices in every packing that mlx-lm writes, and add their adapters; what is chosen."""

from dataclasses import asdict, replace

import mlx.core as mx
import numpy as np
import pytest

from metal.formats import MXFP4, Packing
from metal.weights import Adapter, Matrix
from mlx_model.transformer.compute import CompiledCompute, CpuCompute, GpuCompute, compute_on
from tests.fixtures.dense_models import Random
from tests.fixtures.reference import numbers

ROWS, COLUMNS, RANK = 96, 256, 3

PACKINGS = [
    *(Packing("affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)),
    MXFP4,
]


def named(packing: Packing) -> str:
    return f"{packing.mode}-{packing.bits}-{packing.group_size}"


def packed(weight: mx.array, bias: mx.array, packing: Packing) -> Matrix:
    codes, scales, *offsets = mx.quantize(weight, **asdict(packing))
    return Matrix(codes, bias, scales, offsets[0] if offsets else None, packing)


@pytest.mark.parametrize("packing", PACKINGS, ids=named)
def test_every_packing(packing: Packing) -> None:
    random = Random()
    matrix = packed(random.normal(ROWS, COLUMNS), random.normal(ROWS), packing)
    assert (matrix.rows, matrix.columns) == (ROWS, COLUMNS)
    assert matrix.nbytes > ROWS * COLUMNS * packing.bits // 8
    assert matrix.scales is not None and matrix.bias is not None
    weight = mx.dequantize(matrix.weight, matrix.scales, matrix.offsets, **asdict(packing))
    x = random.normal(2, 5, COLUMNS)
    expected = numbers(x) @ numbers(weight).T + numbers(matrix.bias)
    assert np.abs(numbers(matrix(x)) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("packing", [None, Packing("affine", 4, 64)], ids=["floats", "packed"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_an_adapter_is_added(packing: Packing | None, has_bias: bool) -> None:
    random = Random()
    weight, bias, x = random.normal(ROWS, COLUMNS), random.normal(ROWS), random.normal(4, COLUMNS)
    plain = replace(
        Matrix(weight, bias) if packing is None else packed(weight, bias, packing), bias=bias if has_bias else None
    )
    low = Adapter(random.normal(RANK, COLUMNS), random.normal(ROWS, RANK), 0.5)
    added = numbers(replace(plain, adapter=low)(x)) - numbers(plain(x))
    expected = 0.5 * numbers(x) @ numbers(low.a).T @ numbers(low.b).T
    assert np.abs(added - expected).max() < 1e-5 * np.abs(expected).max()


def test_what_a_device_is_asked_to_do() -> None:
    gpu, mlx, cpu = compute_on(gpu=True, compiled=True), compute_on(gpu=False), compute_on(gpu=False, compiled=True)
    assert (gpu.dtype, gpu.steps_ahead, gpu.adopts_memory, gpu.kv_dtype(16)) == (mx.bfloat16, True, True, None)
    for each in (mlx, cpu):
        assert (each.dtype, each.steps_ahead, each.adopts_memory) == (mx.float32, False, False)
        assert (each.kv_dtype(32), each.kv_dtype(16)) == (None, mx.bfloat16)
        assert not each.differentiable
    assert [type(each) for each in (gpu, mlx, cpu)] == [GpuCompute, CpuCompute, CompiledCompute]
    for on_gpu in (True, False):
        found = compute_on(gpu=on_gpu, differentiable=True, compiled=True)
        assert found.differentiable
        assert not isinstance(found, CompiledCompute)
