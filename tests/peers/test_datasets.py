"""Test sets in the programs that they are made for: inspect_ai and lm-evaluation-harness load them, and run them.

They are those of the Python that GPTOSS_EVALS names, in an environment of its own (`pip install inspect_ai lm_eval`).
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.dataset.export import lines_of, prompt_of, target_of, task_of
from tests.app.dataset.made import ITEMS

PYTHON = os.environ.get("GPTOSS_EVALS", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="GPTOSS_EVALS names no Python that has inspect_ai and lm_eval")


def loaded(program: str, data: Path) -> dict[str, Any]:
    command = [PYTHON, str(Path(__file__).with_name("load_datasets.py")), program, str(data)]
    environment = os.environ | {"HF_HOME": str(data.parent), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "missing" in answer:
        pytest.skip(f"{program} is not installed in {PYTHON}")
    return answer


@pytest.mark.parametrize("kind", ITEMS)
@pytest.mark.parametrize("program", ["inspect", "lm-eval"])
def test_a_set_is_loaded_and_run(program: str, kind: str, tmp_path: Path) -> None:
    items, data = ITEMS[kind], tmp_path / "heat.jsonl"
    data.write_text(lines_of(items, program, with_text=True))
    if task := task_of(items, program, data):
        data.with_suffix(".yaml").write_text(task)
    answer = loaded(program, data)
    assert len(answer["samples"]) == len(items)
    for sample, item in zip(answer["samples"], items, strict=True):
        assert sample["metadata"]["quote"] == item.quote and item.question in sample["input"]
        if program == "inspect":
            assert sample["target"] == target_of(item)
        else:
            assert sample["input"] == f"{prompt_of(item, with_text=True)}\nAnswer:"
            assert sample["target"] == (item.choices.index(item.answer) if item.choices else item.answer)
    if program == "inspect":
        assert answer["right"] == answer["expected"] > 0
    else:
        assert answer["metrics"][0] == ("acc,none" if item.choices else "exact_match,none")
