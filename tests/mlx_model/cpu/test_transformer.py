"""The model on compiled layers: its cache goes back and forks, its weights are views, MLX computes where it must."""

import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.cpu import available
from mlx_model.cpu.transformer import CompiledTransformer
from mlx_model.errors import CheckpointError
from mlx_model.model import Model, load
from mlx_model.transformer.blocks import Transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint

TOKENS = [(7 * i * i + 3) % 500 for i in range(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config())


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder)


def logits(model: Model, tokens: list[int], cache: Any) -> np.ndarray:
    return np.array(model.transformer(mx.array([tokens]), cache, "last")).ravel()


def test_a_window_outlives_its_buffer_and_a_fork_its_origin(model: Model) -> None:
    """Past several moves of the sliding buffers, and with other tokens written behind the mark meanwhile."""
    cache = model.make_cache()
    cache.mark([150])
    logits(model, TOKENS[:200], cache)
    for token in TOKENS[200:380]:
        logits(model, [token], cache)
    fresh = model.make_cache()
    logits(model, TOKENS[:150], fresh)
    expected = logits(model, TOKENS[150:160][::-1], fresh)
    fork = cache.fork(150)
    assert cache.restore(150) == 150
    for each in (cache, fork):
        assert np.abs(logits(model, TOKENS[150:160][::-1], each) - expected).max() < 2e-5 * np.abs(expected).max()
        assert each.offset == 160


def test_tokens_that_are_taken_back_leave_nothing(model: Model) -> None:
    cache = model.make_cache()
    for end in range(70, 290, 20):  # with moves of the sliding buffers in between
        logits(model, TOKENS[cache.offset : end], cache)
        expected = logits(model, [5], cache)
        cache.take_back()
        logits(model, [9, 8, 9, 8], cache)
        cache.take_back(3)
        cache.take_back()
        assert np.array_equal(logits(model, [5], cache), expected)


def test_weights_are_views(model: Model) -> None:
    assert isinstance(model.transformer, CompiledTransformer)
    assert model.residence.refusal is None
    assert model.residence.unaligned_bytes == 0
    copied = load(model.folder, map="off")
    assert copied.residence.mapped_bytes == 0
    assert copied.residence.resident_bytes == model.residence.resident_bytes < 2 * model.residence.mapped_bytes
    assert np.array_equal(np.array(model.forward(TOKENS[:5])), np.array(copied.forward(TOKENS[:5])))
    with pytest.raises(ValueError, match="read-only"):
        model.transformer.layers[0].query.weight[0] = 0


def test_a_file_that_is_cut_off_is_seen_before_its_pages_are_touched(tmp_path: Path) -> None:
    model = load(write_checkpoint(tmp_path, tiny_config()))
    file = tmp_path / "model.safetensors"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    with pytest.raises(CheckpointError, match="was cut off while in use"):
        model.forward([1])


def test_without_numba_mlx_computes(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    available.why_not.cache_clear()
    try:
        found = load(folder)
    finally:
        available.why_not.cache_clear()
    (record,) = caplog.records
    assert "numba" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert isinstance(found.transformer, Transformer)
    expected = np.array(found.forward(TOKENS[:20]))
    assert np.abs(np.array(model.forward(TOKENS[:20])) - expected).max() < 2e-5 * np.abs(expected).max()
