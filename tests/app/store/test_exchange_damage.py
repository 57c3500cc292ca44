"""Damaged exports of all kinds: nothing fails, nothing is lost without a word, and the second import is no news."""

from pathlib import Path

from tests.fixtures.damage import check

SEEDS = 60
"""tests/torture tries more."""


def test_damaged_exports(tmp_path: Path) -> None:
    for seed in range(SEEDS):
        check(tmp_path, seed)
