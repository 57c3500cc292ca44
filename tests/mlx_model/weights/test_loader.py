"""Loading: one file or several, dense quantisation, memory. Files that are wrong: test_bad_files.py."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from mlx_model.checkpoint_files import INDEX
from mlx_model.cpu.transformer import CompiledTransformer
from mlx_model.errors import RequestError
from mlx_model.model import load
from mlx_model.transformer.config import ModelConfig
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.narrow_model import load_narrow

DOWN = "model.layers.1.mlp.experts.down_proj_blocks"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config(), shards=3)


def file_of(folder: Path, tensor: str) -> Path:
    name: str = json.loads((folder / INDEX).read_text())["weight_map"][tensor]
    return folder / name


def test_sharded_equals_single_file(original: Path, tmp_path: Path) -> None:
    single = write_checkpoint(tmp_path, tiny_config())
    tokens = [1, 2, 3]
    assert np.array_equal(np.array(load(original).forward(tokens)), np.array(load(single).forward(tokens)))


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.02), (6, 0.08), (4, 0.35)])
def test_dense_quantisation_stays_near(original: Path, bits: int, tolerance: float) -> None:
    """Whole models are compiled at 8 bits alone: it takes long, and tests/mlx_model/cpu has the others' kernels."""
    tokens, by_mlx = list(range(40)), bits != 8
    exact = load(original, differentiable=by_mlx)
    near = load(original, dense_bits=bits, differentiable=True) if by_mlx else load_narrow(original)
    logits, rounded = (np.array(model.forward(tokens, model.make_cache())) for model in (exact, near))
    error = np.sqrt(((logits - rounded) ** 2).mean() / (logits**2).mean())
    assert 0 < error < tolerance
    assert near.resident_bytes < exact.resident_bytes


@pytest.mark.parametrize("bits", [0, 3, 32])
def test_unknown_dense_bits(original: Path, bits: int) -> None:
    with pytest.raises(RequestError, match=r"it can be 16 \(as published\), 8, 6 or 4"):
        load(original, dense_bits=bits)


def test_dense_quantisation_of_odd_sizes(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, tiny_config(hidden_size=96))
    with pytest.raises(RequestError, match="multiples of 64"):
        load(folder, dense_bits=8)


def test_experts_are_the_files_bytes(original: Path) -> None:
    """No repacking: the words in memory are the file's bytes."""
    model = load(original)
    with safe_open(file_of(original, DOWN), framework="numpy") as tensors:
        stored = tensors.get_tensor(DOWN)
    assert isinstance(model.transformer, CompiledTransformer)
    held = model.transformer.layers[1].down.blocks
    assert held.dtype == np.uint8
    assert held.tobytes() == stored.tobytes()
    assert ModelConfig.load(original).num_local_experts == len(held) == len(stored)


def test_resident_bytes_are_those_of_the_arrays(original: Path) -> None:
    """On the CPU: matrices as stored, all else in float32, and the embedding not at all."""
    sizes: dict[str, tuple[str, int]] = {}
    for file in original.glob("*.safetensors"):
        raw = file.read_bytes()
        header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
        sizes |= {n: (e["dtype"], e["data_offsets"][1] - e["data_offsets"][0]) for n, e in header.items() if "." in n}
    del sizes["model.embed_tokens.weight"]
    matrices = ("_proj.weight", "router.weight", "lm_head.weight")
    widened = [n for n, (dtype, _) in sizes.items() if dtype == "BF16" and not n.endswith(matrices)]
    expected = sum(size for _, size in sizes.values()) + sum(sizes[n][1] for n in widened)
    assert load(original).resident_bytes == expected


def test_resident_bytes_of_what_is_quantised_here(original: Path) -> None:
    """Codes of 8 bits, and a scale and an offset in bfloat16 for each 64 of them; the biases are counted once."""
    bits, floats = 8, load(original)
    config = floats.config
    queries, keys = (heads * config.head_dim for heads in (config.num_attention_heads, config.num_key_value_heads))
    numbers = (2 * queries + 2 * keys) * config.hidden_size * config.num_hidden_layers
    numbers += config.vocab_size * config.hidden_size
    saved = numbers * 2 - (numbers * bits // 8 + numbers // 64 * 2 * 2)
    assert load(original, dense_bits=bits).resident_bytes == floats.resident_bytes - saved
