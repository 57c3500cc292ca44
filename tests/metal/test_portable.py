"""MLX's definition of attention over a window: equal to one product with a mask, in fewer products."""

from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from metal.portable import QUERY_BLOCK, attention, mask
from tests.fixtures.dense_models import Random

WINDOW = 128


def inputs(length: int, before: int) -> tuple[mx.array, mx.array, mx.array, mx.array]:
    random = Random(length)
    keys, values = (random.normal(2, 1, before + length, 16) for _ in range(2))
    return random.normal(2, 2, length, 16), keys, values, random.normal(2)


@pytest.mark.parametrize("before", [0, 1, 126, WINDOW - 1])
@pytest.mark.parametrize("length", [1, 129, QUERY_BLOCK, QUERY_BLOCK + 1, 2 * QUERY_BLOCK + 100])
def test_blocks_of_queries_are_what_a_mask_gives(length: int, before: int) -> None:
    queries, keys, values, sinks = inputs(length, before)
    distance = np.arange(before, before + length)[:, None] - np.arange(before + length)
    whole = mx.array((distance >= 0) & (distance < WINDOW))
    expected = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=0.25, mask=whole, sinks=sinks)
    found = attention(queries, keys, values, sinks, 0.25, WINDOW)
    assert mx.abs(found - expected).max() < 2e-6 * mx.abs(expected).max()


def products(window: int | None, length: int, before: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of queries and keys, a head."""
    counted: list[int] = []

    def count(queries: mx.array, keys: mx.array, values: mx.array, **_: Any) -> mx.array:
        counted.append(queries.shape[2] * keys.shape[2])
        return queries

    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", count)
    attention(*inputs(length, before), 0.25, window)
    return sum(counted)


def test_a_window_spares_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of 2,048 tokens, as a plan for much memory has it, behind a full window; and what has no window."""
    whole = 2048 * (WINDOW - 1 + 2048)
    assert products(WINDOW, 2048, WINDOW - 1, monkeypatch) == 2048 * (WINDOW - 1 + QUERY_BLOCK) < whole / 5.6
    assert products(None, 2048, WINDOW - 1, monkeypatch) == whole
    assert products(WINDOW, 100, 20, monkeypatch) == 100 * 120


def test_a_mask_is_made_once() -> None:
    assert mask(256, 383, 128) is mask(256, 383, 128)
