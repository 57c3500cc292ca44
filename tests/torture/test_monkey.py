"""Many games of the monkey at the screen; MONKEY says how many, FIRST_SEED where they begin."""

import os
from pathlib import Path

import pytest

from tests.fixtures.monkey import no_harm, play

FIRST = int(os.environ.get("FIRST_SEED", "1000"))
GAMES = int(os.environ.get("MONKEY", "300"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + GAMES))
async def test_a_game(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_harm(tmp_path, monkeypatch)
    await play(seed)
