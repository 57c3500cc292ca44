"""Two short games of the monkey at the screen; `make torture` plays many."""

from pathlib import Path

import pytest

from tests.fixtures.monkey import no_harm, play


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_short_game(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_harm(tmp_path, monkeypatch)
    await play(seed, moves=25)
