"""Which files a cell has written, of many."""

import os
from pathlib import Path

from mlx_model.tools.python.files import MOST_LISTED, changed, snapshot


def test_of_many_files_the_last_are_listed(tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    for number in range(MOST_LISTED + 5):
        path = tmp_path / f"{number}.txt"
        path.touch()
        os.utime(path, (number, number))
    assert changed(tmp_path, before) == tuple(tmp_path / f"{number}.txt" for number in range(5, MOST_LISTED + 5))
