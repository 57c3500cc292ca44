"""Thousands of damaged exports (TORTURE_SEEDS, 4000 by default); a seed that fails is named."""

import os
from pathlib import Path

import pytest

from tests.fixtures.damage import check

BATCH = 200
BATCHES = int(os.environ.get("TORTURE_SEEDS", "4000")) // BATCH


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_exports(tmp_path: Path, batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        try:
            check(tmp_path, seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
