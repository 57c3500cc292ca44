"""Training that is killed again and again, at random moments, goes on to the losses of a run that wasn't."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from assets.training.toy_language import conversations
from mlx_model.lora.saved import Folder

MOST_KILLS = int(os.environ.get("KILLS", "20"))
STEPS = 12
_LONGEST_S = 8.0
"""Until a kill: some come before the model is loaded, some between two steps, some while a file is written."""


def start(data: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = ["finetune", "--model", "demo", "--data", str(data), "--out", str(out), "--steps", str(STEPS)]
    options = ["--batch", "2", "--layers", "4-5", "--held-out", "0.1", "--evaluate", "0"]
    program = [sys.executable, "-m", "app", *command, *options]
    return subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_killed_training_comes_to_the_same_losses(tmp_path: Path) -> None:
    data, chance = tmp_path / "data.jsonl", random.Random(11)
    data.write_text("".join(json.dumps(each) + "\n" for each in conversations(20, 3)))
    assert start(data, tmp_path / "whole").wait() == 0
    kills = 0
    while kills < MOST_KILLS:
        process = start(data, tmp_path / "killed")
        time.sleep(chance.uniform(0.3, _LONGEST_S))
        if process.poll() is not None:
            break  # it was done before
        process.kill()
        process.wait()
        kills += 1
    assert start(data, tmp_path / "killed").wait() == 0
    print(f"{kills} kills")
    expected, found = (Folder(tmp_path / name).history() for name in ("whole", "killed"))
    assert found == expected
    whole, killed = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(np.array_equal(whole[name], killed[name]) for name in whole)
