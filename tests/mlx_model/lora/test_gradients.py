"""Gradients and training curves beside peft's, which tests/oracle/write_adapter.py has stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from mlx_model.lora import forward
from mlx_model.lora.forward import Row, losses
from mlx_model.lora.trainer import Trainer
from mlx_model.model import Model, load
from mlx_model.transformer.adapters import Adapters, adapted
from mlx_model.weights.adapter_files import read_adapter, write_adapter
from tests.fixtures.checkpoints import write_checkpoint
from tests.oracle import lora

TOLERANCE = 2e-5
"""Of a gradient, relative to the largest of its tensor."""


@pytest.fixture(scope="module")
def results() -> Mapping[str, NDArray[Any]]:
    with np.load(lora.RESULTS) as file:
        return dict(file)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = write_checkpoint(tmp_path_factory.mktemp("lora"), lora.CONFIG, seed=lora.SEED)
    return load(folder, differentiable=True)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of sizes that divide no sequence, and are smaller than each."""
    for name, size in (("QUERIES", 12), ("ROWS", 20), ("LOGITS", 17)):
        monkeypatch.setattr(forward, name, size)


def row_of(batch: list[lora.Sequence]) -> Row:
    """All sequences of a batch in one row."""
    tokens = np.concatenate([each for each, _ in batch])
    starts = np.cumsum([0, *(len(each) for each, _ in batch)])
    at = np.concatenate([start + np.flatnonzero(weight) for start, (_, weight) in zip(starts, batch, strict=False)])
    weights = np.concatenate([weight[weight > 0] for _, weight in batch])
    lengths = tuple(len(each) for each, _ in batch)
    return Row(tokens, lengths, at.astype(np.int32), tokens[at + 1], weights)


@pytest.mark.usefixtures("small_blocks")
def test_gradients_are_pefts(model: Model, results: Mapping[str, NDArray[Any]], tmp_path: Path) -> None:
    adapters = read_adapter(lora.FOLDER, model.config).adapters
    row = row_of(lora.sequences(0))

    def mean(arrays: dict[str, mx.array]) -> mx.array:
        return forward.loss(model.mlx_transformer, Adapters(arrays, adapters.scales), row) / float(row.weights.sum())

    value, gradients = mx.value_and_grad(mean)(dict(adapters.arrays))
    assert value.item() == pytest.approx(float(results["loss"]), abs=2e-5)
    # By the names and in the layout of peft's files, as the adapter itself.
    write_adapter(tmp_path, Adapters(gradients, adapters.scales), "", model.config.num_hidden_layers, {})
    found = load_file(tmp_path / "adapter_model.safetensors")
    assert found.keys() == results.keys() - {"loss", "versions", lora.CURVE}
    for name, gradient in found.items():
        expected = results[name]
        assert np.abs(gradient - expected).max() <= TOLERANCE * np.abs(expected).max(), name


def test_a_loss_falls_as_pefts(
    model: Model, results: Mapping[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mx, "checkpoint", lambda function: function)  # half the time; gradients are as above
    trainer = Trainer(model.mlx_transformer, read_adapter(lora.FOLDER, model.config).adapters)
    found = [trainer.step([row_of(lora.sequences(step))], lora.LEARNING_RATE).loss for step in range(lora.STEPS)]
    assert np.abs(np.array(found) - results[lora.CURVE]).max() <= 1e-3


@pytest.mark.usefixtures("small_blocks")
def test_the_forward_pass_of_training_is_that_of_answering(model: Model) -> None:
    adapters = read_adapter(lora.FOLDER, model.config).adapters
    row = row_of(lora.sequences(1))
    answering = adapted(model.mlx_transformer, adapters)
    expected = []
    for tokens, weight in lora.sequences(1):
        logits = answering(mx.array(tokens)[None], answering.make_cache())[0, :-1]
        picked = mx.take_along_axis(logits, mx.array(tokens[1:, None]), axis=-1).squeeze(-1)
        expected.append(np.array(mx.logsumexp(logits, axis=-1) - picked)[weight > 0])
    assert np.abs(np.array(losses(model.mlx_transformer, adapters, row)) - np.concatenate(expected)).max() < 2e-4


def test_experts_are_computed_twice_and_their_gradient_once(model: Model, tmp_path: Path) -> None:
    adapters = read_adapter(lora.FOLDER, model.config).adapters
    row = row_of(lora.sequences(0))

    def total(arrays: dict[str, mx.array]) -> mx.array:
        return forward.loss(model.mlx_transformer, Adapters(arrays, adapters.scales), row)

    value, gradients = mx.value_and_grad(total)(dict(adapters.arrays))
    mx.export_to_dot(str(tmp_path / "graph.dot"), value, *gradients.values())
    products = (tmp_path / "graph.dot").read_text().count("GatherQMM")
    assert products == model.config.num_hidden_layers * 2 * 3  # gate and up, and down; the gradient is a product too
