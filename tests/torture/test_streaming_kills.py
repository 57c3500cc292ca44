"""A program that is killed while experts are read: what it had answered was right, and so is what the next one does."""

import json
import os
import random
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

from mlx_model.folders import cache_folder
from mlx_model.model import load
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.streaming_answers import PROMPTS, answer

MOST_KILLS = int(os.environ.get("KILLS", "20"))
_LONGEST_S = 0.7
"""From the first answer to a kill: some come while experts are read, some while the counts are written."""


def test_kills_while_experts_are_read(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "tiny", tiny_config(num_local_experts=32, num_hidden_layers=2))
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    whole = load(folder)
    expected = [answer(whole, prompt) for prompt in PROMPTS]
    cache = tmp_path / "cache"
    cache.mkdir()
    environment = os.environ | {"GPTOSS_CACHE_DIR": str(cache)}
    (cache / "cpu").symlink_to(cache_folder() / "cpu")  # kernels that were compiled before
    chance, answers = random.Random(5), 0
    for _ in range(MOST_KILLS):
        command = [sys.executable, "-m", "tests.fixtures.streaming_answers", str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        found = [process.stdout.readline()]
        time.sleep(chance.uniform(0, _LONGEST_S))
        process.kill()
        found += process.communicate()[0].splitlines(keepends=True)
        lines = [line for line in found if line.endswith("\n")]
        assert lines, "it ended before it was killed"
        for line, ids in zip(lines, cycle(expected), strict=False):
            assert [*map(int, line.split())] == ids
        answers += len(lines)
        (kept,) = (file for file in (cache / "experts").iterdir() if not file.name.startswith("."))
        assert [len(layer) for layer in json.loads(kept.read_text())] == [32, 32]
    print(f"{MOST_KILLS} kills, {answers} answers")
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
