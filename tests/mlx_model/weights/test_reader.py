"""Reading: mapped and copied, the same tensors, whatever stands against mapping; no byte more than is needed.

Metal's rules are played by a stand-in, which copies: adopting itself needs a Mac.
"""

import gc
import json
import mmap
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.errors import CheckpointError, RequestError
from mlx_model.model import Model, load
from mlx_model.transformer.compute import CpuCompute, GpuCompute
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights import mapping, reader
from mlx_model.weights.checkpoint import Stored, stored_tensors
from mlx_model.weights.loader import load_transformer
from mlx_model.weights.mapping import MappedFile
from mlx_model.weights.reader import Reader
from mlx_model.weights.residence import Residence
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.headers import read_header, rewrite_header, shift_data
from tests.fixtures.metal_stand_in import StandIn, asked
from tests.fixtures.mlx_layout import AFFINE_8, MXFP4, write_mlx_layout
from tests.fixtures.model_arrays import arrays, assert_bit_equal
from tests.oracle.cases import CASES

PAGE = mmap.PAGESIZE
MAPS = Path("/proc/self/maps")
IO = Path("/proc/self/io")


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("sharded"), tiny_config(), shards=3)


@pytest.fixture
def metal(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Metal's rules in place of `adopt`, and no tensor too small to be mapped."""
    stand_in = StandIn()
    monkeypatch.setattr(reader, "adopt", stand_in)
    monkeypatch.setattr(mapping, "SMALLEST", 1)
    return stand_in


def by_mlx(folder: Path | str, map: str = "auto") -> Model:
    """Loads a model that MLX computes, on a CPU too."""
    return load(folder, map=map, differentiable=True)


# Both ways give the same


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mapped_is_copied_bit_for_bit(tmp_path: Path, metal: StandIn, case: Any) -> None:
    folder = write_checkpoint(tmp_path, case.config, seed=case.seed)
    copied, mapped = by_mlx(folder, map="off"), by_mlx(folder, map="on")
    assert_bit_equal(copied.transformer, mapped.transformer)
    assert mapped.residence.refusal is None
    assert mapped.residence.resident_bytes == copied.residence.resident_bytes
    assert copied.residence.mapped_bytes == 0 < mapped.residence.mapped_bytes


def test_so_does_the_demo(metal: StandIn) -> None:
    one, other = (by_mlx("demo", map=way).transformer for way in ("off", "on"))
    assert_bit_equal(one, other)


@pytest.mark.parametrize("how", [AFFINE_8, MXFP4], ids=["affine", "mxfp4"])
def test_so_does_mlx_lms_layout(tmp_path: Path, metal: StandIn, how: dict[str, Any]) -> None:
    folder = write_mlx_layout(write_checkpoint(tmp_path / "hub", tiny_config()), tmp_path / "mlx", lambda stem: how)
    shift_data(folder / "model.safetensors", 0)
    copied, mapped = (by_mlx(folder, map=way) for way in ("off", "on"))
    assert_bit_equal(copied.transformer, mapped.transformer)
    # Gate and up rows come to stand in turns, in new memory; what is multiplied with as it is stays in the file.
    down = sum(tensor.nbytes for name, tensor in stored_tensors(folder).items() if "down_proj.weight" in name)
    assert down < mapped.residence.mapped_bytes < mapped.residence.resident_bytes - 2 * down


@pytest.mark.parametrize("remainder", range(16))
def test_wherever_the_data_begin(tmp_path: Path, metal: StandIn, remainder: int) -> None:
    folder = write_checkpoint(tmp_path, tiny_config(num_hidden_layers=1, num_attention_heads=8))
    shift_data(folder / "model.safetensors", remainder)
    mapped = by_mlx(folder, map="on")
    assert_bit_equal(by_mlx(folder, map="off").transformer, mapped.transformer)
    stored = stored_tensors(folder)
    del stored["model.embed_tokens.weight"]  # never loaded
    unaligned = [tensor for tensor in stored.values() if tensor.offset % asked(tensor.name)]
    assert (not unaligned) == (remainder == 0)
    assert mapped.residence.unaligned_bytes == sum(tensor.nbytes for tensor in unaligned)


def test_as_on_a_gpu_dense_matrices_stay_mapped(sharded: Path, metal: StandIn) -> None:
    """In bfloat16 nothing is converted, and "auto" maps."""
    config = ModelConfig.load(sharded)
    _, mapped = load_transformer(sharded, config, GpuCompute())
    stored = stored_tensors(sharded)
    unaligned = mapped.unaligned_bytes
    assert mapped.refusal is None
    assert mapped.mapped_bytes == mapped.resident_bytes - unaligned
    _, quantised = load_transformer(sharded, config, GpuCompute(), dense_bits=8)
    codes = sum(tensor.nbytes for name, tensor in stored.items() if name.endswith(("_blocks", "_scales")))
    assert codes <= quantised.mapped_bytes < mapped.mapped_bytes


@pytest.mark.parametrize("least", [1, 4, 16])
def test_what_is_mapped_has_the_address_that_was_asked_for(tmp_path: Path, metal: StandIn, least: int) -> None:
    folder = write_checkpoint(tmp_path, tiny_config(num_hidden_layers=1))
    shift_data(folder / "model.safetensors", 8)
    tensors = stored_tensors(folder)
    mapping_reader = Reader(tensors.values(), "on")
    for tensor in tensors.values():
        mapping_reader.take(tensor, least)
        item = 2 if tensor.dtype == "BF16" else 1
        assert (tensor.name in mapping_reader.mapped) == (tensor.offset % max(least, item) == 0)


# What stands against mapping ends in copying


def residence(folder: Path) -> Residence:
    """Loads with mapping on, checks that the model is the one that copying gives, and says where its weights are."""
    mapped = by_mlx(folder, map="on")
    assert_bit_equal(by_mlx(folder, map="off").transformer, mapped.transformer)
    return mapped.residence


def test_switched_off(sharded: Path, metal: StandIn) -> None:
    assert by_mlx(sharded, map="off").residence.refusal == "mapping is switched off"
    assert not metal.held


def test_auto_copies_on_the_cpu(sharded: Path, metal: StandIn) -> None:
    found = by_mlx(sharded).residence
    assert found.refusal is not None
    assert "on the CPU" in found.refusal
    assert not metal.held


def test_where_metal_takes_nothing(sharded: Path, metal: StandIn) -> None:
    metal.refuses = lambda pages: True
    found = residence(sharded)
    assert found.refusal == "MLX adopts no memory here (pages of model-00000-of-00002.safetensors)"
    assert found.mapped_bytes == found.unaligned_bytes == 0


def test_where_one_tensor_is_too_much(sharded: Path, metal: StandIn) -> None:
    """As with a tensor beyond the size of Metal's largest buffer: it alone is copied."""
    largest = stored_tensors(sharded)["lm_head.weight"].nbytes
    metal.refuses = lambda pages: pages.nbytes >= largest
    found = residence(sharded)
    assert found.refusal == "Metal did not take lm_head.weight (65,536 bytes); it was copied"
    assert 0 < found.mapped_bytes < found.resident_bytes


@pytest.mark.parametrize("wrong", [0, 1, -1])
def test_where_the_device_sees_other_bytes(sharded: Path, metal: StandIn, wrong: int) -> None:
    """At the beginning, in the middle or at the end of the last file; what passed before isn't mapped either."""
    last = sorted(sharded.glob("*.safetensors"))[-1]
    where = {0: 0, 1: last.stat().st_size // 2, -1: last.stat().st_size - 1}[wrong]
    checked = iter(range(1000))

    def other(pages: np.ndarray) -> np.ndarray:
        changed = pages.copy()
        number = next(checked)
        if number == 6 + (0, 1, 2)[wrong]:
            size = min(PAGE, last.stat().st_size)
            begin = (0, (last.stat().st_size - size) // 2, last.stat().st_size - size)[wrong]
            changed[where - begin + begin % PAGE] ^= 1
        return changed

    metal.gives = other
    found = residence(sharded)
    assert found.refusal == f"the device reads other bytes in the mapped pages of {last.name} than the file holds"
    assert found.mapped_bytes == 0


def test_where_the_device_fails(sharded: Path, metal: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arrays: mx.array) -> mx.array:
        raise RuntimeError("[METAL] Command buffer execution failed")

    monkeypatch.setattr(mx, "array_equal", fail)
    found = by_mlx(sharded, map="on").residence
    assert found.refusal is not None
    assert "Command buffer execution failed" in found.refusal
    assert found.mapped_bytes == 0


def test_where_files_cannot_be_mapped(sharded: Path, metal: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> MappedFile:
        raise OSError("no such device")

    monkeypatch.setattr(reader, "MappedFile", fail)
    found = residence(sharded)
    assert found.refusal == "model-00000-of-00002.safetensors can't be mapped (no such device)"


def test_other_ways_are_refused(sharded: Path) -> None:
    with pytest.raises(RequestError, match='map is "maybe"; it can be auto, on or off'):
        by_mlx(sharded, map="maybe")


# No more is read than is needed, nothing is written, nothing stays


def bytes_read() -> int:
    """What this process has read through system calls; pages of mapped files are not among it."""
    return int(IO.read_text().split()[1])


@pytest.mark.skipif(not IO.exists(), reason="bytes read are counted in Linux' /proc")
def test_each_byte_is_copied_once(sharded: Path) -> None:
    config, tensors = ModelConfig.load(sharded), stored_tensors(sharded)
    used = sum(tensor.nbytes for name, tensor in tensors.items() if "embed_tokens" not in name)
    headers = sum(len(json.dumps(read_header(file))) for file in sharded.glob("*.safetensors"))
    before = bytes_read()
    load_transformer(sharded, config, CpuCompute(), map="off")
    found = bytes_read() - before
    # Headers are read by us, by MLX, and not to the byte; the index once.
    assert used <= found <= used + 3 * headers + 64_000


@pytest.mark.skipif(not IO.exists(), reason="bytes read are counted in Linux' /proc")
def test_a_mapped_model_is_not_read(tmp_path: Path, metal: StandIn) -> None:
    folder = write_checkpoint(tmp_path, tiny_config(vocab_size=20_000, num_local_experts=16))
    shift_data(folder / "model.safetensors", 0)
    config, tensors = ModelConfig.load(folder), stored_tensors(folder)
    header = min(tensor.offset for tensor in tensors.values())
    before = bytes_read()
    _, found = load_transformer(folder, config, GpuCompute())
    # The header twice, and three pages to compare.
    assert bytes_read() - before <= 2 * header + 3 * PAGE + 40_000
    assert found.mapped_bytes > 30 * (2 * header + 3 * PAGE + 40_000)
    # What was adopted is what is used, rounded to pages.
    used = [tensor for name, tensor in tensors.items() if "embed_tokens" not in name]
    assert sum(pages.nbytes for pages in metal.held) <= sum(tensor.nbytes for tensor in used) + 2 * PAGE * (
        len(used) + 3
    )


def test_nothing_is_computed_in_mapped_pages(tmp_path: Path, metal: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversion to a dtype of the same size is computed in place if MLX holds the last reference to its input."""
    folder = write_checkpoint(tmp_path, tiny_config(num_hidden_layers=1))
    file = folder / "model.safetensors"

    def to_f16(header: dict[str, Any]) -> None:
        for entry in header.values():
            entry["dtype"] = entry["dtype"].replace("BF16", "F16")

    rewrite_header(file, to_f16)
    shift_data(file, 0)
    sources: list[int] = []  # addresses of what was taken since the last computation, and so must be there still
    computed: list[mx.array] = []
    evaluate, take = mx.eval, Reader.take

    def address(array: mx.array) -> int:
        return int(np.array(array.view(mx.uint8), copy=False).ctypes.data)

    def noting_take(self: Reader, tensor: Stored, alignment: int = 1) -> mx.array:
        array = take(self, tensor, alignment)
        sources.append(address(array))
        return array

    def noting_eval(*arguments: Any) -> None:
        evaluate(*arguments)
        # What was taken, of float16, is not kept: that alone would save it.
        found = [array for array in arguments if isinstance(array, mx.array) and array.dtype != mx.float16]
        assert not {address(array) for array in found if array.dtype == mx.bfloat16} & set(sources)
        sources.clear()
        computed.extend(found)

    monkeypatch.setattr(Reader, "take", noting_take)
    monkeypatch.setattr(mx, "eval", noting_eval)
    transformer, _ = load_transformer(folder, ModelConfig.load(folder), GpuCompute())
    # Nor may anything be left to be computed when nobody keeps its source any more.
    known = {id(array) for array in computed}
    left = [name for name, array in arrays(transformer.blocks) if id(array) not in known]
    assert not left
    assert len(known) > 20


@pytest.mark.skipif(not MAPS.exists(), reason="mappings are listed in Linux' /proc")
def test_a_closed_model_leaves_nothing(sharded: Path, metal: StandIn) -> None:
    """While Metal's arrays live, so do their pages, and nothing else keeps them: with them, the mapping goes."""
    gc.collect()
    before = mx.get_active_memory()
    model = by_mlx(sharded, map="on")
    assert mx.get_active_memory() > before
    assert len([line for line in MAPS.read_text().splitlines() if line.endswith(".safetensors")]) >= 3
    metal.held.clear()
    assert str(sharded) not in MAPS.read_text()
    del model
    gc.collect()
    assert mx.get_active_memory() == before


def test_a_copied_model_leaves_nothing(sharded: Path) -> None:
    gc.collect()
    before = mx.get_active_memory()
    model = by_mlx(sharded, map="off")
    assert mx.get_active_memory() > before
    del model
    gc.collect()
    assert mx.get_active_memory() == before
    assert not [link for link in Path("/proc/self/fd").glob("*") if str(sharded) in str(link.resolve())]


def test_a_file_cut_off_meanwhile(sharded: Path, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, tiny_config())
    tensors = stored_tensors(folder)
    copying = Reader(tensors.values(), "off")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(max(tensor.offset for tensor in tensors.values()))
    with pytest.raises(CheckpointError, match=r"can't be read \(.*Try again"):
        for tensor in tensors.values():
            copying.take(tensor)
