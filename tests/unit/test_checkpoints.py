"""The synthetic checkpoints have the Hub's layout, and are the ones the stored reference logits belong to."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.checkpoints import (
    PRESETS,
    all_tensors,
    cut,
    file_header,
    hub_config,
    in_file_order,
    tiny_config,
    to_bf16,
    write_checkpoint,
)
from tests.oracle.cases import digest, read_references

# openai/gpt-oss-20b: total_size and cuts from model.safetensors.index.json, and the sizes of its files.
HUB_TOTAL = 13_761_264_768
HUB_FILES = (4_792_272_488, 4_798_702_184, 4_170_342_232)
HUB_CUTS = ("model.layers.18.self_attn.q_proj.weight", "model.layers.6.mlp.experts.gate_up_proj_blocks")


def test_20b_has_the_sizes_of_the_hub() -> None:
    tensors = all_tensors(hub_config())
    assert sum(tensor.nbytes for tensor in tensors) == HUB_TOTAL
    parts = cut(tensors, None)
    assert tuple(part[0].name for part in parts[1:]) == HUB_CUTS
    sizes = [len(file_header(in_file_order(part))) + sum(tensor.nbytes for tensor in part) for part in parts]
    assert tuple(sizes) == HUB_FILES


def test_120b_has_the_size_of_the_hub() -> None:
    config = hub_config(num_hidden_layers=36, num_local_experts=128)
    assert sum(tensor.nbytes for tensor in all_tensors(config)) == 65_248_815_744
    assert config["layer_types"].count("sliding_attention") == 18


def test_files_are_readable_by_safetensors(tmp_path: Path) -> None:
    config = tiny_config()
    write_checkpoint(tmp_path, config, shards=3)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    expected = {tensor.name: tensor for tensor in all_tensors(config)}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in expected.values())
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == [
        f"model-{number:05}-of-00002.safetensors" for number in range(3)
    ]
    assert index["weight_map"].keys() == expected.keys()
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / file, framework="numpy") as tensors:
            stored = tensors.get_slice(name)
            assert (stored.get_dtype(), tuple(stored.get_shape())) == (
                expected[name].dtype,
                expected[name].shape,
            )


def test_contents_do_not_depend_on_the_files(tmp_path: Path) -> None:
    """A tensor is the same in one file or three, and differs between tensors, layers and seeds."""

    def blocks(folder: Path, name: str) -> bytes:
        for file in folder.glob("*.safetensors"):
            with safe_open(file, framework="numpy") as tensors:
                if name in tensors.keys():  # noqa: SIM118
                    return tensors.get_tensor(name).tobytes()
        raise AssertionError(f"{name} is nowhere")

    one = write_checkpoint(tmp_path / "one", tiny_config())
    three = write_checkpoint(tmp_path / "three", tiny_config(), shards=3)
    other = write_checkpoint(tmp_path / "other", tiny_config(), seed=1)
    names = [f"model.layers.{layer}.mlp.experts.down_proj_blocks" for layer in range(4)]
    contents = [blocks(one, name) for name in names]
    assert contents == [blocks(three, name) for name in names]
    assert len({*contents, *(blocks(other, name) for name in names)}) == 8


def test_a_checkpoint_written_again_replaces_the_old_one(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, tiny_config(), shards=2)
    write_checkpoint(tmp_path, tiny_config())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]


def test_bf16_rounds_to_nearest_even() -> None:
    exact = np.array([1.0, -2.5, 0.0], dtype=np.float32)
    assert (to_bf16(exact).astype(np.uint32) << 16).view(np.float32).tolist() == exact.tolist()
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8], dtype=np.float32)  # bfloat16 steps by 2^-7 above 1
    assert (to_bf16(ties).astype(np.uint32) << 16).view(np.float32).tolist() == [1.0, 1 + 2**-6]


def test_configurations() -> None:
    assert hub_config()["num_hidden_layers"] == len(hub_config()["layer_types"]) == 24
    assert PRESETS["two-layer"]()["layer_types"] == ["sliding_attention", "full_attention"]
    assert tiny_config(num_experts_per_tok=2)["experts_per_token"] == 2
    assert tiny_config(vocab_size=100)["eos_token_id"] == 99
    with pytest.raises(KeyError, match="hidden_sise"):
        hub_config(hidden_sise=64)


@pytest.mark.parametrize("name", read_references())
def test_checkpoints_are_those_of_the_reference_logits(name: str, tmp_path: Path) -> None:
    """If this fails, the generator has changed: write the references again with `make oracle`."""
    reference = read_references()[name]
    assert digest(reference.write_checkpoint(tmp_path)) == reference.sha256
