"""Many games of the monkey at the screen; MONKEY says how many, FIRST_SEED where they begin."""

import os
from pathlib import Path

import pytest

from tests.fixtures.monkey import play

FIRST = int(os.environ.get("FIRST_SEED", "1000"))
GAMES = int(os.environ.get("MONKEY", "300"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + GAMES))
async def test_a_game(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where /export writes
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nothing is downloaded from
    monkeypatch.setenv("EDITOR", "true")
    await play(seed)
