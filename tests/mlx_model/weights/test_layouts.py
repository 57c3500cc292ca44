"""Checkpoints in mlx-lm's layout: the same model as the Hub's, or the one that their codes say; clear refusals."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from metal.formats import Packing
from mlx_model.errors import CheckpointError
from mlx_model.model import load
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.compute import CpuCompute
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.checkpoint import stored_tensors
from mlx_model.weights.layouts import HubLayout, MlxLayout, layout_of
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.headers import rewrite_header
from tests.fixtures.mlx_layout import (
    AFFINE_4,
    AFFINE_8,
    MXFP4,
    Quantisation,
    hub_tensors,
    read_tensors,
    write_dequantised,
    write_mlx_layout,
)
from tests.fixtures.model_arrays import assert_bit_equal

TOKENS = [(5 * i * i + 3 * i) % 500 for i in range(40)]
QUERY = "model.layers.0.self_attn.q_proj"
GATE = "model.layers.1.mlp.experts.gate_proj"


def affine_8(stem: str) -> dict[str, Any]:
    """Everything at 8 bits, as mlx-community's MXFP4-Q8."""
    return AFFINE_8


def affine_4_but_router(stem: str) -> dict[str, Any]:
    """4 bits, the router 8, as mlx-lm's own predicate for gpt-oss has it."""
    return AFFINE_8 if stem.endswith("router") else AFFINE_4


def mxfp4(stem: str) -> dict[str, Any]:
    """Dense matrices in MXFP4 too."""
    return MXFP4


def mixed(stem: str) -> dict[str, Any] | None:
    """A bit of everything."""
    return {
        "lm_head": {"mode": "affine", "bits": 6, "group_size": 64},
        "model.embed_tokens": {"mode": "affine", "bits": 3, "group_size": 32},
        "model.layers.0.self_attn.q_proj": MXFP4,
        "model.layers.0.self_attn.k_proj": {"mode": "affine", "bits": 5, "group_size": 64},
        "model.layers.1.self_attn.o_proj": {"mode": "affine", "bits": 2, "group_size": 128},
        "model.layers.1.mlp.router": {"mode": "affine", "bits": 8, "group_size": 32},
    }.get(stem)


CHOICES: tuple[Quantisation, ...] = (affine_8, affine_4_but_router, mxfp4, mixed)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("hub"), tiny_config())


@pytest.fixture(scope="module", params=CHOICES, ids=lambda choice: choice.__name__)
def converted(request: pytest.FixtureRequest, hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mlx_layout(hub, tmp_path_factory.mktemp("mlx"), request.param, shards=2)


def read(folder: Path, dense_bits: int | None = None) -> Transformer:
    """The transformer as loaded, without a memory plan's wishes."""
    return load_transformer(folder, ModelConfig.load(folder), CpuCompute(), dense_bits)[0]


def logits(transformer: Transformer) -> np.ndarray:
    return np.array(transformer(mx.array([TOKENS]), transformer.make_cache()))


@pytest.mark.parametrize("shards", [1, 3])
def test_unquantised_it_is_the_same_model(hub: Path, tmp_path: Path, shards: int) -> None:
    folder = write_mlx_layout(hub, tmp_path / "mlx", shards=shards)
    ours, theirs = (load(each, differentiable=True) for each in (hub, folder))
    assert_bit_equal(ours.transformer, theirs.transformer)
    assert np.array_equal(np.array(ours.forward(TOKENS)), np.array(theirs.forward(TOKENS)))
    # Gate and up came together without leaving anything behind.
    assert theirs.residence == ours.residence


def test_quantised_it_is_what_its_codes_say(hub: Path, converted: Path, tmp_path: Path) -> None:
    expected = logits(read(write_dequantised(converted, hub, tmp_path / "floats")))
    found = logits(read(converted))
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()
    assert (found.argmax(-1) == expected.argmax(-1)).all()
    # And not, by mistake, the model it was made of.
    assert np.abs(logits(read(hub)) - expected).max() > 2e-3 * np.abs(expected).max()


def test_what_is_quantised_stays_as_it_is(converted: Path) -> None:
    """Nothing is repacked or quantised again: not by `dense_bits` either, which is for floats."""
    packed, transformer = hub_tensors(converted), read(converted, dense_bits=8)
    query = transformer.blocks[0].attention.projections.query
    assert query.packing == MlxLayout(transformer.config, stored_tensors(converted)).packing(QUERY)
    assert mx.array_equal(query.weight, packed[f"{QUERY}.weight"])
    down = packed["model.layers.0.mlp.experts.down_proj.weight"]
    assert mx.array_equal(transformer.blocks[0].mixture.down.blocks, down)


def test_floats_are_quantised_as_the_hubs(hub: Path, tmp_path: Path) -> None:
    folder = write_mlx_layout(hub, tmp_path / "mlx")
    assert_bit_equal(read(hub, dense_bits=6), read(folder, dense_bits=6))


def test_the_packing_of_every_matrix(converted: Path) -> None:
    """Found from the shapes alone, and the same that config.json says."""
    config, tensors = ModelConfig.load(converted), stored_tensors(converted)
    layout = layout_of(converted, config, tensors)
    entries = json.loads((converted / "config.json").read_text())["quantization"]
    stems = {name.removesuffix(".weight") for name in tensors if name.endswith(".weight") and "norm" not in name}
    assert len(stems) > 20
    for stem in stems:
        if ".experts." not in stem:
            assert layout.packing(stem) == (Packing(**entries[stem]) if stem in entries else None)


def test_names_decide(hub: Path, tmp_path: Path) -> None:
    """A config.json of mlx-lm's with the Hub's tensors is read as the Hub's."""
    folder = Path(shutil.copytree(hub, tmp_path / "hub"))
    config = json.loads((folder / "config.json").read_text())
    config["quantization"] = config["quantization_config"] = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    (folder / "config.json").write_text(json.dumps(config))
    assert isinstance(layout_of(folder, ModelConfig.load(folder), stored_tensors(folder)), HubLayout)
    assert_bit_equal(read(hub), read(folder))


# What can't be read


@pytest.fixture
def quantised(hub: Path, tmp_path: Path) -> Path:
    return write_mlx_layout(hub, tmp_path / "mlx", affine_8)


def replacing(name: str, tensor: mx.array) -> Callable[[dict[str, mx.array]], object]:
    return lambda tensors: tensors.update({name: tensor})


def error_of(folder: Path, change: Callable[[dict[str, mx.array]], object]) -> str:
    """What loading says after `change` of the tensors."""
    file = folder / "model.safetensors"
    tensors = read_tensors(file)
    mx.eval(list(tensors.values()))
    change(tensors)
    mx.save_safetensors(str(file), tensors)
    with pytest.raises(CheckpointError) as error:
        load(folder)
    return str(error.value)


def test_missing_scales_and_biases(quantised: Path) -> None:
    assert f"the tensor {QUERY}.biases is missing" in error_of(quantised, lambda t: t.pop(f"{QUERY}.biases"))
    message = error_of(quantised, lambda t: t.pop(f"{QUERY}.scales"))
    assert f"{QUERY}.weight is U32 [128, 16], but config.json asks for BF16 or F16 or F32 [128, 64]" in message


def test_missing_experts(quantised: Path) -> None:
    assert f"the tensor {GATE}.scales is missing" in error_of(quantised, lambda t: t.pop(f"{GATE}.scales"))
    first = "model.layers.0.mlp.experts.gate_proj.weight"
    assert f"the tensor {first} is missing" in error_of(quantised, lambda t: t.pop(first))


def test_something_of_another_model(quantised: Path) -> None:
    message = error_of(quantised, lambda t: t.__setitem__(f"{QUERY}.global_scale", mx.zeros(1)))
    assert f"gpt-oss has no tensor {QUERY}.global_scale" in message


@pytest.mark.parametrize(
    ("weight", "scales"),
    [
        (mx.zeros((128, 14), mx.uint32), mx.zeros((128, 1))),  # 7 bits
        (mx.zeros((128, 16), mx.uint32), mx.zeros((128, 4))),  # groups of 16
        (mx.zeros((128, 16), mx.uint32), mx.zeros((128, 2), mx.uint8)),  # MXFP8
        (mx.zeros((128, 8), mx.uint32), mx.zeros((128, 4), mx.uint8)),  # NVFP4
        (mx.zeros((128, 16), mx.uint32), mx.zeros((3,))),
        (mx.zeros((128, 64), mx.float32), mx.zeros((128, 1))),
    ],
)
def test_other_formats(quantised: Path, weight: mx.array, scales: mx.array) -> None:
    message = error_of(quantised, lambda t: t.update({f"{QUERY}.weight": weight, f"{QUERY}.scales": scales}))
    assert f"{QUERY}.weight is " in message
    assert "neither affine nor MXFP4 quantisation of a matrix 128 x 64" in message


def test_experts_in_other_formats(quantised: Path) -> None:
    message = error_of(quantised, lambda t: t.__setitem__(f"{GATE}.biases", mx.zeros((8, 96, 1))))
    assert f"the experts are affine-quantised ({GATE}.weight); gptoss-chat needs OpenAI's MXFP4" in message
    message = error_of(quantised, lambda t: t.update({f"{GATE}.weight": mx.zeros((8, 96, 64))}))
    assert f"the experts are plain floats ({GATE}.weight)" in message


def test_scales_that_are_no_numbers(hub: Path, tmp_path: Path) -> None:
    for stem in (GATE, QUERY):
        folder = write_mlx_layout(hub, tmp_path / stem, mxfp4)
        tensors = hub_tensors(folder)
        scales = np.array(tensors[f"{stem}.scales"])
        scales.reshape(-1)[-1] = 255
        message = error_of(folder, replacing(f"{stem}.scales", mx.array(scales)))
        assert f"{stem}.scales holds scales that are not numbers" in message


def test_wrong_dtype(quantised: Path) -> None:
    rewrite_header(quantised / "model.safetensors", lambda header: header[f"{GATE}.weight"].__setitem__("dtype", "I32"))
    with pytest.raises(CheckpointError, match=r"gate_proj.weight is I32 \[8, 96, 8\], but config.json asks for U32"):
        load(quantised)


@pytest.mark.parametrize("matrix", ["gate_up_proj", "down_proj"])
def test_experts_as_floats_beside_the_config_of_before(tmp_path: Path, matrix: str) -> None:
    """As fine-tuning leaves them: bfloat16 experts, and a quantization_config that speaks of MXFP4."""
    folder = write_checkpoint(tmp_path, tiny_config(num_hidden_layers=2))
    name = f"model.layers.1.mlp.experts.{matrix}"

    tensors = stored_tensors(folder)
    codes = tensors.pop(f"{name}_blocks")
    floats = tensors | {name: dataclasses.replace(codes, name=name, dtype="BF16", shape=(8, 64, 192))}
    with pytest.raises(CheckpointError, match=rf"plain floats \({name}\); .* the original: gptoss-chat download"):
        layout_of(folder, ModelConfig.load(folder), floats)
