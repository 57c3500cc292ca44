"""Adapters beside matrices: what they add, and that no kernel leaves them out."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from metal import dense, experts
from metal.weights import Adapter, Head
from tests.fixtures.dense_models import EPS, Random
from tests.fixtures.reference import dequantised, numbers, random_mixture

ROWS, COLUMNS, RANK = 96, 256, 3


def adapter(random: Random, *leading: int, rows: int = ROWS, columns: int = COLUMNS) -> Adapter:
    return Adapter(random.normal(*leading, RANK, columns), random.normal(*leading, rows, RANK), 0.5)


@pytest.mark.parametrize("is_sorted", [False, True])
def test_an_adapter_of_experts_is_added(is_sorted: bool) -> None:
    random, mixture = Random(), random_mixture(64, 96, 5, 2)
    low = adapter(random, 5, rows=64, columns=96)
    matrix = replace(mixture.down, adapter=low)
    x, chosen = random.normal(6, 1, 96), [0, 1, 1, 3, 4, 4]
    found = numbers(matrix(x, mx.array(chosen), is_sorted=is_sorted))
    for row, expert in enumerate(chosen):
        weight = dequantised(matrix, expert) + 0.5 * numbers(low.b[expert]) @ numbers(low.a[expert])
        expected = weight @ numbers(x[row, 0]) + numbers(matrix.bias[expert])
        assert np.abs(found[row, 0] - expected).max() < 1e-5 * np.abs(expected).max()


def test_activations_keep_their_dtype_beside_an_adapter_in_float32() -> None:
    random, mixture = Random(), random_mixture(64, 96, 5, 2, mx.bfloat16)
    matrix = replace(random.matrix(ROWS, COLUMNS, mx.bfloat16), adapter=adapter(random))
    assert matrix(random.normal(1, COLUMNS, dtype=mx.bfloat16)).dtype == mx.bfloat16
    expert = replace(mixture.down, adapter=adapter(random, 5, rows=64, columns=96))
    assert expert(random.normal(2, 1, 96, dtype=mx.bfloat16), mx.array([0, 1])).dtype == mx.bfloat16


def test_kernels_object_to_adapters() -> None:
    """They would leave an adapter out without a word."""
    random, mixture = Random(), random_mixture(64, 96, 5, 2)
    head = Head(mx.ones(COLUMNS), EPS, random.matrix(ROWS, COLUMNS, mx.float32, bias=False))
    adapted = replace(head, matrix=replace(head.matrix, adapter=adapter(random)))
    assert dense.why_not(head, mx.float32) is None
    assert dense.why_not(adapted, mx.float32) == "a matrix has an adapter, which the kernels don't apply"
    layer = random.projections(64, 2, 1, mx.float32)
    for name in ("query", "key", "value", "output"):
        changed = replace(getattr(layer, name), adapter=adapter(random))
        assert "has an adapter" in (dense.why_not(replace(layer, **{name: changed}), mx.float32) or "")
    assert experts.why_not(mixture, mx.float32) is None
    for name in ("gate_up", "down"):
        changed = replace(getattr(mixture, name), adapter=adapter(random, 5))
        found = experts.why_not(replace(mixture, **{name: changed}), mx.float32)
        assert found == "an expert matrix has an adapter, which the kernels don't apply"
