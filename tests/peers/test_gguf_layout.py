"""The GGUF file that the converter writes: gguf's own reader and decoder find the checkpoint's weights in it."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, TokenType, dequantize
from numpy.typing import NDArray

from mlx_model.transformer.config import ModelConfig
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.mlx_layout import hub_tensors
from tests.peers.gguf_layout import ggml_blocks, write_gguf

DEMO = ROOT / "assets" / "demo"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("hub"), tiny_config(num_hidden_layers=2), shards=2)


@pytest.fixture(scope="module")
def written(hub: Path) -> GGUFReader:
    return GGUFReader(write_gguf(hub, hub / "model.gguf"))


def decoded(tensor: ReaderTensor) -> Any:
    """The numbers of a tensor in float32, by gguf."""
    return dequantize(tensor.data, tensor.tensor_type)


def test_each_weight_is_there_once_with_its_value(hub: Path, written: GGUFReader) -> None:
    stored = hub_tensors(hub)
    tensors = {tensor.name: tensor for tensor in written.tensors}
    assert list(tensors)[:3] == ["token_embd.weight", "output.weight", "output_norm.weight"]
    kinds = {name: tensor.tensor_type for name, tensor in tensors.items()}
    assert kinds.pop("output.weight") == kinds.pop("blk.1.attn_k.weight") == GGMLQuantizationType.BF16
    assert kinds.pop("blk.0.ffn_gate_inp.weight") == kinds.pop("blk.1.attn_sinks.weight") == GGMLQuantizationType.F32
    assert kinds.pop("blk.0.ffn_down_exps.weight") == GGMLQuantizationType.MXFP4
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "lm_head.weight": "output.weight",
        "model.norm.weight": "output_norm.weight",
    }
    for layer in range(2):
        for theirs, ours in {
            "input_layernorm.weight": "attn_norm.weight",
            "post_attention_layernorm.weight": "post_attention_norm.weight",
            "self_attn.sinks": "attn_sinks.weight",
            "mlp.router.weight": "ffn_gate_inp.weight",
            "mlp.router.bias": "ffn_gate_inp.bias",
            "mlp.experts.down_proj_bias": "ffn_down_exps.bias",
            **{
                f"self_attn.{old}_proj.{kind}": f"attn_{new}.{kind}"
                for old, new in {"q": "q", "k": "k", "v": "v", "o": "output"}.items()
                for kind in ("weight", "bias")
            },
        }.items():
            names[f"model.layers.{layer}.{theirs}"] = f"blk.{layer}.{ours}"
    for theirs, ours in names.items():
        assert np.array_equal(decoded(tensors.pop(ours)), np.array(stored[theirs].astype(mx.float32))), ours
    for layer in range(2):
        experts = f"model.layers.{layer}.mlp.experts."
        gate_up = mlx_decoded(stored, experts + "gate_up_proj")
        bias = np.array(stored[experts + "gate_up_proj_bias"].astype(mx.float32))
        for part, new in enumerate(("gate", "up")):
            name = f"blk.{layer}.ffn_{new}_exps."
            assert np.array_equal(decoded(tensors.pop(name + "weight")), gate_up[:, part::2]), name
            assert np.array_equal(decoded(tensors.pop(name + "bias")), bias[:, part::2]), name
        down = decoded(tensors.pop(f"blk.{layer}.ffn_down_exps.weight"))
        assert np.array_equal(down, mlx_decoded(stored, experts + "down_proj"))
    assert not tensors


def mlx_decoded(stored: dict[str, mx.array], stem: str) -> Any:
    """The numbers of experts in float32, by MLX."""
    codes = stored[stem + "_blocks"].view(mx.uint32).flatten(-2)
    return np.array(
        mx.dequantize(codes, stored[stem + "_scales"], group_size=32, bits=4, mode="mxfp4", dtype=mx.float32)
    )


def test_every_code_and_scale_keeps_its_bits() -> None:
    """All bytes at all places of a block, and all scales: halves of bytes are moved, none is changed."""
    blocks: NDArray[np.uint8] = np.add.outer(np.arange(256), np.arange(16)).astype(np.uint8)
    scales = np.arange(256, dtype=np.uint8)
    moved = ggml_blocks(blocks, scales)
    codes = np.stack([blocks & 15, blocks >> 4], -1).reshape(256, 32)
    assert np.array_equal(moved[:, 0], scales)
    assert np.array_equal(np.concatenate([moved[:, 1:] & 15, moved[:, 1:] >> 4], -1), codes)


def test_metadata_is_that_of_the_config(hub: Path, written: GGUFReader) -> None:
    config = ModelConfig.load(hub)
    fields = {name.removeprefix("gpt-oss."): field.contents() for name, field in written.fields.items()}
    assert fields["general.architecture"] == "gpt-oss"
    assert fields["block_count"] == 2
    assert fields["attention.sliding_window"] == config.sliding_window == 16
    assert fields["attention.key_length"] == fields["attention.value_length"] == config.head_dim
    assert (fields["attention.head_count"], fields["attention.head_count_kv"]) == (4, 2)
    assert (fields["expert_count"], fields["expert_used_count"]) == (8, 4)
    assert (fields["rope.scaling.type"], fields["rope.scaling.factor"]) == ("yarn", 32)
    assert fields["rope.scaling.original_context_length"] == 4096
    assert fields["rope.freq_base"] == config.rope_theta
    assert fields["tokenizer.ggml.model"] == "no_vocab"
    assert fields["vocab_size"] == config.vocab_size


def test_a_tokenizer_comes_along(tmp_path: Path) -> None:
    reader = GGUFReader(write_gguf(DEMO, tmp_path / "demo.gguf"))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    stored = json.loads((DEMO / "tokenizer.json").read_text())
    tokens, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    assert len(tokens) == len(kinds) == 1024
    assert all(tokens[id] == text and kinds[id] == TokenType.NORMAL for text, id in stored["model"]["vocab"].items())
    assert tokens[fields["tokenizer.ggml.eos_token_id"]] == "<|return|>"
    assert kinds[fields["tokenizer.ggml.eos_token_id"]] == TokenType.CONTROL
    assert [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"][:2]] == [("Ġ", "t"), ("a", "n")]
    assert not (tmp_path / "demo.gguf.part").exists()
