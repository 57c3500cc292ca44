"""On a Mac: the demo model on the GPU, answering and mapped. Everything else in this process runs on the CPU."""

import json
import subprocess
import sys

import mlx.core as mx
import pytest

COMPARE = """
import json
import mlx.core as mx
from mlx_model.model import load

mapped, copied = (load("demo", map=way) for way in ("auto", "off"))
logits = [model.forward(list(range(40))) for model in (mapped, copied)]
residence = mapped.residence
print(json.dumps([residence.refusal, residence.mapped_bytes, mx.array_equal(*logits).item()]))
"""


@pytest.mark.skipif(not mx.metal.is_available(), reason="there is no Metal GPU here")
def test_the_demo_answers_on_the_gpu() -> None:
    question = ["--prompt", "How many r's are in strawberry?", "--temperature", "0", "--json"]
    command = [sys.executable, "-m", "mlx_model.generate", "--model", "demo", *question]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
    assert answer["finish_reason"] == "stop"
    assert "3" in answer["text"]
    assert answer["analysis"]


@pytest.mark.skipif(not mx.metal.is_available(), reason="there is no Metal GPU here")
def test_weights_are_mapped_on_the_gpu() -> None:
    command = [sys.executable, "-c", COMPARE]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    refusal, mapped_bytes, same = json.loads(result.stdout)
    assert refusal is None
    assert mapped_bytes > 1_000_000
    assert same
