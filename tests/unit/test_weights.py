"""Loading: every way in which files can be wrong gives one error naming file and tensor; dense quantisation; memory."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from mlx_model.config import ModelConfig
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.model import load
from tests.checkpoints import tiny_config, write_checkpoint

DOWN = "model.layers.1.mlp.experts.down_proj_blocks"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config(), shards=3)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "checkpoint"))


def file_of(folder: Path, tensor: str) -> Path:
    return folder / json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][tensor]


def rewrite_header(file: Path, change: Any) -> None:
    """Applies `change` to the file's header (name to entry), leaving the data as they are."""
    raw = file.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def error_of(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load(folder)
    return str(error.value)


def test_sharded_equals_single_file(original: Path, tmp_path: Path) -> None:
    single = write_checkpoint(tmp_path, tiny_config())
    tokens = [1, 2, 3]
    assert np.array_equal(np.array(load(original).forward(tokens)), np.array(load(single).forward(tokens)))


def test_missing_tensor(folder: Path) -> None:
    file = file_of(folder, DOWN)
    rewrite_header(file, lambda header: header.__setitem__("model.layers.1.mlp.experts.lost", header.pop(DOWN)))
    message = error_of(folder)
    assert DOWN in message
    assert "is missing" in message


def test_extra_tensor(folder: Path) -> None:
    def add(header: dict[str, Any]) -> None:
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        header["model.layers.0.mlp.shared_expert"] = {"dtype": "U8", "shape": [0], "data_offsets": [end, end]}

    file = file_of(folder, "lm_head.weight")
    rewrite_header(file, add)
    message = error_of(folder)
    assert "model.layers.0.mlp.shared_expert" in message
    assert file.name in message


@pytest.mark.parametrize(
    ("field", "value"),
    [("shape", [8, 64, 96 // 32 * 16]), ("shape", [4, 128, 3, 16]), ("dtype", "I8")],
)
def test_wrong_shape_or_dtype(folder: Path, field: str, value: Any) -> None:
    file = file_of(folder, DOWN)
    rewrite_header(file, lambda header: header[DOWN].__setitem__(field, value))
    message = error_of(folder)
    assert DOWN in message
    assert file.name in message
    assert "U8 [8, 64, 3, 16]" in message


def test_config_of_another_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(tiny_config(hidden_size=128)))
    assert "don't belong together" in error_of(folder)


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, 0.999])
def test_truncated_file(folder: Path, kept: float) -> None:
    file = file_of(folder, "lm_head.weight")
    raw = file.read_bytes()
    file.write_bytes(raw[: int(kept * len(raw)) if isinstance(kept, float) else kept])
    message = error_of(folder)
    assert str(file) in message
    assert "is damaged" in message
    if isinstance(kept, float):
        assert "within or before the tensor " in message


def test_not_safetensors(folder: Path) -> None:
    file = file_of(folder, DOWN)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 4)
    assert f"{file} is damaged" in error_of(folder)


def test_missing_shard(folder: Path) -> None:
    file = file_of(folder, DOWN)
    file.unlink()
    assert f"{file} is missing" in error_of(folder)


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": {}}}'])
def test_damaged_index(folder: Path, index: str) -> None:
    (folder / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json" in error_of(folder)


def test_index_reaching_out_of_the_folder(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    assert "not a plain file name" in error_of(folder)


def test_no_weights(folder: Path) -> None:
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    assert "no complete checkpoint" in error_of(folder)


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.02), (6, 0.08), (4, 0.35)])
def test_dense_quantisation_stays_near(original: Path, bits: int, tolerance: float) -> None:
    tokens = list(range(40))
    exact = load(original)
    near = load(original, dense_bits=bits)
    logits, rounded = (np.array(model.forward(tokens)) for model in (exact, near))
    error = np.sqrt(((logits - rounded) ** 2).mean() / (logits**2).mean())
    assert 0 < error < tolerance
    assert near.resident_bytes < exact.resident_bytes


@pytest.mark.parametrize("bits", [0, 3, 16])
def test_unknown_dense_bits(original: Path, bits: int) -> None:
    with pytest.raises(RequestError, match="it can be 8, 6 or 4"):
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
    held = np.array(model.transformer.blocks[1].experts.down.blocks)
    assert held.dtype == np.uint32
    assert held.tobytes() == stored.tobytes()
    assert ModelConfig.load(original).num_local_experts == len(held) == len(stored)


def test_resident_bytes_are_those_of_the_arrays(original: Path) -> None:
    """On the CPU: experts as stored, the embedding as stored, all else in float32."""
    sizes = {}
    for file in original.glob("*.safetensors"):
        raw = file.read_bytes()
        header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
        sizes |= {n: (e["dtype"], e["data_offsets"][1] - e["data_offsets"][0]) for n, e in header.items() if "." in n}
    widened = [n for n, (dtype, _) in sizes.items() if dtype == "BF16" and n != "model.embed_tokens.weight"]
    expected = sum(size for _, size in sizes.values()) + sum(sizes[n][1] for n in widened)
    assert load(original).resident_bytes == expected
