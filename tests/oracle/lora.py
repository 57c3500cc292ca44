"""The tiny model, adapter and sequences of peft's stored gradients and losses, and where these are. Free of PyTorch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.fixtures.checkpoints import tiny_config

FOLDER = Path(__file__).parent / "lora"
"""An adapter as peft writes it: adapter_config.json, adapter_model.safetensors."""
RESULTS = FOLDER / "results.npz"
"""The gradient of each tensor of that file, by its name; "loss", that of the first batch; CURVE."""
CURVE = "curve"
"""The loss of each step of training, float64 [STEPS]."""

CONFIG = tiny_config(num_hidden_layers=2, num_local_experts=6)
SEED = 21
RANK, ALPHA = 3, 6
RANKS = {"experts.gate_up_proj": 2, "mlp.router.weight": 1}
"""Of the places that have another."""
STEPS, LEARNING_RATE, WEIGHT_DECAY, MAX_NORM = 50, 1e-3, 0.01, 1.0

Sequence = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Tokens [T], and what the cross-entropy of each but the first counts [T - 1]."""


def sequences(step: int) -> list[Sequence]:
    """Those of a step: two, longer than the model's window, each learnt from some token on."""
    batch = []
    for number, length in enumerate((27, 19)):
        bits = np.random.PCG64([SEED, step % 5, number])
        tokens = (bits.random_raw(length) % np.uint64(CONFIG["vocab_size"])).astype(np.int32)
        weights = np.ones(length - 1, np.float32)
        weights[: 8 + number] = 0
        weights[-5:] = 0.5
        batch.append((tokens, weights))
    return batch
