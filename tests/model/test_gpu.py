"""On a Mac: the demo model answers on the GPU. Everything else in this process runs on the CPU."""

import json
import subprocess
import sys

import mlx.core as mx
import pytest


@pytest.mark.skipif(not mx.metal.is_available(), reason="there is no Metal GPU here")
def test_the_demo_answers_on_the_gpu() -> None:
    question = ["--prompt", "How many r's are in strawberry?", "--temperature", "0", "--json"]
    command = [sys.executable, "-m", "mlx_model.generate", "--model", "demo", *question]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
    assert answer["finish_reason"] == "stop"
    assert "3" in answer["text"]
    assert answer["analysis"]
