"""A tiny model to train, and examples of random tokens."""

from pathlib import Path

import numpy as np
import pytest

from mlx_model.lora.examples import Example
from mlx_model.model import Model, load
from tests.fixtures.checkpoints import tiny_config, write_checkpoint


@pytest.fixture(scope="session")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of one layer."""
    config = tiny_config(num_hidden_layers=1, num_local_experts=4, layer_types=["full_attention"])
    folder: Path = write_checkpoint(tmp_path_factory.mktemp("trainable"), config)
    return load(folder, differentiable=True)


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Ten of them, of 8 to 17 tokens, of which the last six are learnt: the same in each."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(10):
        ids = (*rng.integers(0, 500, 2 + number).tolist(), 7, 8, 9, 10, 11, 12)
        weights = (0.0,) * (len(ids) - 6) + (1.0,) * 6
        found.append(Example(f"data.jsonl:{number + 1}", 2, ids, weights, "", True))
    return found
