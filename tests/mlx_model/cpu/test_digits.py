"""Activations as digits against float64: every size of number, the edges of rounding, what is no number."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.mlx_model.cpu.matrices import in_digits, read_digits


def blocks(*values: float) -> NDArray[np.float32]:
    """A row whose blocks have one of these each, the negative of half of it, and zeros."""
    row = np.zeros((1, 32 * len(values)), np.float32)
    row[0, 5::32] = values
    row[0, 20::32] = [-value / 2 for value in values]
    return row


def test_numbers_are_off_by_half_a_unit_at_most() -> None:
    rng = np.random.default_rng(3)
    rows = [rng.normal(size=(20, 2880)) * rng.choice([1e-30, 1e-3, 1, 1e4, 1e30], size=(20, 1))]
    rows.append(rng.normal(size=(20, 2880)) * np.exp(rng.normal(scale=4, size=(20, 2880))))
    x = np.concatenate(rows).astype(np.float32)
    numbers, units = (found[:, :2880] for found in read_digits(in_digits(x)))
    largest = np.repeat(np.abs(x.astype(np.float64)).reshape(len(x), -1, 32).max(axis=-1), 32, axis=1)
    assert (np.abs(numbers * units - x) <= units / 2).all()
    assert (units <= largest * 2.0**-21.99).all()
    assert (np.frexp(units)[0] == 0.5).all(), "a power of two"


def test_the_edges_of_three_digits() -> None:
    """All numbers in whose neighbourhood the unit changes."""
    bits = np.concatenate([np.arange(near - 3000, near + 3000) for near in (0x3FFEFEFF, 0x3F800000, 0x40000000)])
    values = bits.astype(np.uint32).view(np.float32)
    x = blocks(*values)
    numbers, units = (found[:, : x.shape[1]] for found in read_digits(in_digits(x)))
    assert (np.abs(numbers * units - x) <= units / 2).all()
    assert np.abs(numbers).max() == 127 * (1 + 256 + 256**2)


def test_nothing_is_lost_of_few_bits() -> None:
    x = (np.arange(-2048, 2048) / 256).astype(np.float32)[None]
    numbers, units = read_digits(in_digits(x))
    np.testing.assert_array_equal(numbers * units, x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.finfo(np.float32).max])
def test_a_block_with_what_is_no_number_is_none(value: float) -> None:
    x = blocks(1, value, 2, 1)
    numbers, units = read_digits(in_digits(x))
    assert np.isnan(units[0, 32:64]).all()
    assert np.isfinite(units[0, [*range(32), *range(64, 128)]]).all()
    assert not numbers[0, 32:64].any()


def test_tiny_numbers_are_zero_or_tiny() -> None:
    x = blocks(0, 1e-45, 1e-40, 1e-37, 1e-32, 3e38)
    numbers, units = (found[:, : x.shape[1]] for found in read_digits(in_digits(x)))
    assert (np.abs(numbers * units - x)[0, :-32] <= 2.0**-126).all()
    np.testing.assert_allclose((numbers * units)[0, -32:], x[0, -32:], rtol=1e-6)
