"""Loading into MLX never holds more than a twentieth over what stays: measured as the peak of a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.mlx_layout import write_mlx_layout

MEASURE = """
import json, sys
from mlx_model.model import load

def status(field):
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024

before = status("VmRSS")
model = load(sys.argv[1], dense_bits=int(sys.argv[2]) or None, differentiable=True)
print(json.dumps({"before": before, "peak": status("VmHWM"), "after": status("VmRSS"), "claim": model.resident_bytes}))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of a gigabyte in gpt-oss' proportions: experts most, then output matrix and embedding."""
    config = tiny_config(
        hidden_size=512, intermediate_size=512, num_local_experts=32, num_hidden_layers=8, vocab_size=40_000
    )
    return write_checkpoint(tmp_path_factory.mktemp("middle"), config)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux' /proc")
@pytest.mark.parametrize(("layout", "dense_bits"), [("hub", 0), ("hub", 8), ("mlx", 0)])
def test_peak_while_loading(checkpoint: Path, tmp_path: Path, layout: str, dense_bits: int) -> None:
    """In mlx-lm's layout one layer's gate and up are there twice for as long as they are brought together."""
    folder = checkpoint if layout == "hub" else write_mlx_layout(checkpoint, tmp_path)
    command = [sys.executable, "-c", MEASURE, str(folder), str(dense_bits)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    memory = json.loads(result.stdout)
    kept = memory["after"] - memory["before"]
    assert memory["peak"] - memory["before"] <= 1.05 * kept
    # What the model says of itself is what the process grew by, but for MLX' own first allocations.
    assert abs(kept - memory["claim"]) < 0.05 * memory["claim"] + 16e6
