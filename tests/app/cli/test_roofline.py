"""The model of decoding speed, against figures computed by hand from gpt-oss-20b's published sizes."""

import pytest

from app.cli.roofline import bytes_per_token
from tests.benchmarks.roofline import CHIPS, gpt_oss_20b, table, tokens_s

CONFIG = gpt_oss_20b()


@pytest.mark.parametrize(("bits", "gigabytes"), [(16, 3.70), (8, 2.56), (4, 1.95)])
def test_bytes_of_a_token(bits: int, gigabytes: float) -> None:
    assert bytes_per_token(CONFIG, bits) / 1e9 == pytest.approx(gigabytes, abs=0.005)


def test_bytes_are_those_of_the_matrices() -> None:
    """24 layers of 26.5M weights of attention and 4 experts of 24.88M at 4.25 bits, and a row of 201,088 x 2,880."""
    attention = 2 * 4096 * 2880 + 2 * 512 * 2880
    expert = (5760 + 2880) * 2880
    expected = 2 * (24 * attention + 201_088 * 2880) + 24 * 4 * expert * 17 / 32
    assert bytes_per_token(CONFIG) == expected


@pytest.mark.parametrize(
    ("gigabytes_s", "at_8_bits", "at_16_bits"),
    [(120, 47, 32), (153, 60, 41), (200, 78, 54), (273, 107, 74), (400, 156, 108), (819, 320, 221)],
)
def test_bandwidth_alone(gigabytes_s: int, at_8_bits: int, at_16_bits: int) -> None:
    for bits, expected in ((8, at_8_bits), (16, at_16_bits)):
        assert tokens_s(bytes_per_token(CONFIG, bits), gigabytes_s) == pytest.approx(expected, abs=0.51)


def test_launches_add_up() -> None:
    assert tokens_s(10**9, 100) == pytest.approx(100)
    assert tokens_s(10**9, 100, launches=1000, launch_us=2) == pytest.approx(1 / 0.012)


def test_table() -> None:
    head, rule, *rows = table(CONFIG).splitlines()
    assert len(rows) == len(CHIPS)
    assert len({line.count("|") for line in (head, rule, *rows)}) == 1
    for row in rows:
        *by_bits, as_mlx_lm = map(float, row.strip("|").split("|")[2:])
        assert by_bits == sorted(by_bits)
        assert as_mlx_lm <= by_bits[1]  # rounded
