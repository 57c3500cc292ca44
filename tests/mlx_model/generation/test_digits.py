"""Digits at the end of a JSON text, whatever its pieces are."""

import json
import random

import pytest

from mlx_model.generation.digits import MOST_DIGITS, Digits

LONG = "9" * MOST_DIGITS


@pytest.mark.parametrize(
    ("text", "suffice"),
    [
        (LONG, True),
        (LONG[1:], False),
        (f"[-{LONG}", True),
        (f"0.{LONG}", True),
        (f"{LONG}.5", False),
        (f"1e-{LONG}", True),
        (f'{{"{LONG}', False),
        (f'{{"{LONG}"', False),
        (f'{{"a": "\\"{LONG}', False),
        (f'{{"a": "\\\\", "b": {LONG}', True),
        (f"[{LONG}, 1", False),
        ("\u0661" * MOST_DIGITS, False),  # no digits of JSON
    ],
)
def test_digits_of_the_last_number_are_counted(text: str, suffice: bool) -> None:
    for seed in range(5):
        digits, cuts = Digits(), sorted(random.Random(seed).choices(range(len(text) + 1), k=4))
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            digits.read(text[start:end])
        assert digits.suffice == suffice


def test_no_number_of_64_bits_is_cut_short() -> None:
    for number in (2**63 - 1, -(2**63), 2**64 - 1, 0.1 + 0.2, 1.7976931348623157e308, 5e-324):
        digits = Digits()
        digits.read(json.dumps(number)[:-1])
        assert not digits.suffice
