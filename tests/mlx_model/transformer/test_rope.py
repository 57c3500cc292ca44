"""gpt-oss-20b's rotary frequencies: YaRN with a ramp whose ends are not rounded."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.rope import RopeTable, concentration, inverse_frequencies
from tests.fixtures.checkpoints import hub_config
from tests.oracle.cases import LOGITS

# From the formula of gpt_oss/torch/model.py (YarnRotaryEmbedding), evaluated in double precision.
FREQUENCIES = {
    0: 1.0,
    8: 0.05081327482,
    9: 0.03170569618,
    10: 0.01933500113,
    12: 0.00679495949,
    14: 0.002093792379,
    16: 0.0004564839192,
    17: 0.0001293187012,
    18: 3.830881237e-05,
    31: 3.023511428e-07,
}


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    (tmp_path / "config.json").write_text(json.dumps(hub_config()))
    return ModelConfig.load(tmp_path)


def test_frequencies(config: ModelConfig) -> None:
    found = inverse_frequencies(config.head_dim, config.rope_theta, config.yarn)
    assert found.shape == (32,)
    for pair, expected in FREQUENCIES.items():
        assert found[pair] == pytest.approx(expected, rel=1e-9)


def test_frequencies_of_transformers(config: ModelConfig) -> None:
    found = inverse_frequencies(config.head_dim, config.rope_theta, config.yarn)
    with np.load(LOGITS) as reference:
        np.testing.assert_allclose(found, reference["rope/frequencies"], rtol=1e-6)
        assert concentration(config.yarn) == pytest.approx(float(reference["rope/attention_factor"]), rel=1e-12)


def test_concentration(config: ModelConfig) -> None:
    assert concentration(config.yarn) == pytest.approx(1.3465735902799727, rel=1e-15)


def test_threads_may_ask_for_tables_of_two_lengths_at_once(config: ModelConfig) -> None:
    """The short one is put in place while the long one is made."""
    short_is_made, long_is_half_made, short_is_done = threading.Event(), threading.Event(), threading.Event()
    made = list[int]()

    def held(array: NDArray[np.float32]) -> NDArray[np.float32]:
        made.append(len(array))
        if made == [0, 4096]:
            short_is_made.set()
            long_is_half_made.wait()
        elif made == [0, 4096, 8192, 8192]:
            long_is_half_made.set()
            short_is_done.wait()
        return array

    table = RopeTable(config, held)

    def ask() -> None:
        table.at(0, 1)
        short_is_done.set()

    other = threading.Thread(target=ask)
    other.start()
    short_is_made.wait()
    cosines, sines = table.at(5000, 10)
    other.join()
    assert cosines.shape == sines.shape == (10, 32)
    again = table.at(5000, 10)
    assert (cosines == again[0]).all() and (sines == again[1]).all()
