"""Checkpoints that mlx-lm itself converts: read as what mlx-lm makes of them, and written alike by mlx_layout.py.

Needs the extra [peers].
"""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mlx_model.transformer.compute import CpuCompute
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.mlx_layout import hub_tensors, write_dequantised, write_mlx_layout
from tests.fixtures.model_arrays import assert_bit_equal

utils = pytest.importorskip("mlx_lm.utils", reason="mlx-lm is in the extra [peers]")

TOKENS = [(5 * i * i + 3 * i) % 500 for i in range(40)]
MODES: dict[str, dict[str, Any] | None] = {
    "as published": None,
    "affine 8": {"group_size": 64, "bits": 8},
    "affine 4": {"group_size": 32, "bits": 4},
    "mxfp4": {"group_size": None, "bits": None, "mode": "mxfp4"},
}


def convert(source: Path, folder: Path, how: dict[str, Any] | None) -> Path:
    """What mlx_lm.convert does with a model, but for the tokenizer."""
    model, config = utils.load_model(source, lazy=True)
    if how is not None:
        model, config = utils.quantize_model(model, config, **how)
    utils.save_model(folder, model)
    utils.save_config(config, config_path=folder / "config.json")
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("hub"), tiny_config())


@pytest.fixture(scope="module", params=MODES)
def converted(request: pytest.FixtureRequest, hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(hub, tmp_path_factory.mktemp("mlx"), MODES[request.param])


def logits(folder: Path) -> np.ndarray:
    transformer, _ = load_transformer(folder, ModelConfig.load(folder), CpuCompute())
    return np.array(transformer(mx.array([TOKENS]), transformer.make_cache()))


def test_logits_are_those_of_mlx_lms_weights(hub: Path, converted: Path, tmp_path: Path) -> None:
    """mlx-lm loads its conversion and dequantises it; those weights, in the Hub's layout, give the same logits."""
    model, config = utils.load_model(converted)
    model.set_dtype(mx.float32)  # scales and offsets, so that dequantising rounds nothing
    floats = dict(tree_flatten(utils.dequantize_model(model).parameters()))
    expected_folder = write_dequantised(converted, hub, tmp_path / "floats")
    expected = hub_tensors(expected_folder)
    for name, tensor in expected.items():
        if ".experts." not in name:
            assert mx.array_equal(tensor.astype(mx.float32), floats[name]), name
    gate, up = (floats[f"model.layers.0.mlp.experts.{part}_proj.bias"] for part in ("gate", "up"))
    turns = expected["model.layers.0.mlp.experts.gate_up_proj_bias"].astype(mx.float32)
    assert mx.array_equal(turns[:, ::2], gate)
    assert mx.array_equal(turns[:, 1::2], up)
    ours, theirs = logits(converted), logits(expected_folder)
    assert np.abs(ours - theirs).max() < 2e-5 * np.abs(theirs).max()
    assert (ours.argmax(-1) == theirs.argmax(-1)).all()
    assert config["quantization"]["mode"] == "mxfp4"


def test_the_tests_write_what_mlx_lm_writes(hub: Path, converted: Path, tmp_path: Path) -> None:
    entries = json.loads((converted / "config.json").read_text())["quantization"]
    ours = write_mlx_layout(
        hub, tmp_path / "ours", lambda stem: {"mode": "affine"} | entries[stem] if stem in entries else None
    )
    left, right = hub_tensors(ours), hub_tensors(converted)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype, name
        assert mx.array_equal(tensor, right[name]), name
    one, other = (load_transformer(folder, ModelConfig.load(folder), CpuCompute())[0] for folder in (ours, converted))
    assert_bit_equal(one, other)
