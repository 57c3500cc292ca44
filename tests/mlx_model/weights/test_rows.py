"""Embedding rows: bit-equal to the matrix in every dtype, packing and way to them, from memory and from the file."""

import gc
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from metal.formats import MXFP4, Packing
from mlx_model.errors import CheckpointError, RequestError
from mlx_model.generation.runner import Runner
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.transformer.embedding import Embedding, Rows
from mlx_model.weights import rows as rows_module
from mlx_model.weights.checkpoint import Stored, stored_tensors
from mlx_model.weights.mapping import MappedFile
from mlx_model.weights.reader import Reader
from mlx_model.weights.rows import FileRows, HeldRows, MappedRows, open_rows
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import load_as_on_a_gpu
from tests.fixtures.headers import shift_data
from tests.fixtures.metal_stand_in import StandIn
from tests.fixtures.mlx_layout import read_tensors

NAME = "model.embed_tokens.weight"
IDS = [[0, 511, 7, 7], [300, 1, 510, 64]]
PROMPT = [(5 * i * i + 3 * i) % 500 for i in range(70)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tensors lie 8 bytes past a multiple of 16, as the Hub's."""
    made = write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config())
    shift_data(made / "model.safetensors", 8)
    return made


@pytest.fixture
def metal(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Metal's rules in place of `adopt`."""
    stand_in = StandIn()
    for module in ("mlx_model.weights.rows", "mlx_model.weights.reader"):
        monkeypatch.setattr(f"{module}.adopt", stand_in)
    return stand_in


def held(stored: Stored) -> HeldRows:
    return HeldRows(Reader([stored]).take(stored))


WAYS = (FileRows, MappedRows, held)


def save(path: Path, **tensors: mx.array) -> dict[str, Stored]:
    """The tensors in one file, with others around them."""
    mx.save_safetensors(str(path), {"a.before": mx.zeros((3,), mx.uint8), **tensors, "z.after": mx.ones((5,))})
    return stored_tensors(path.parent)


def resident(folder: Path) -> mx.array:
    return read_tensors(folder / "model.safetensors")[NAME]


def same(found: mx.array, expected: mx.array) -> bool:
    """Equal to the bit."""
    return found.dtype == expected.dtype and bool(mx.array_equal(found.view(mx.uint8), expected.view(mx.uint8)).item())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16, mx.float32, mx.uint32, mx.uint8])
def test_rows_are_those_of_the_matrix(
    tmp_path: Path, metal: StandIn, way: Callable[[Stored], Rows], dtype: mx.Dtype
) -> None:
    matrix = (mx.random.normal((600, 72), key=mx.random.key(1)) * 50).astype(dtype)
    rows = way(save(tmp_path / "model.safetensors", matrix=matrix)["matrix"])
    assert same(rows(mx.array(IDS)), matrix[mx.array(IDS)])
    assert same(rows(mx.array([599])), matrix[599:])


def test_the_last_page_of_a_file_may_end_behind_it(tmp_path: Path, metal: StandIn) -> None:
    matrix = mx.arange(5000.0).reshape(500, 10)
    mx.save_safetensors(str(tmp_path / "model.safetensors"), {"matrix": matrix})
    stored = stored_tensors(tmp_path)["matrix"]
    assert stored.offset + stored.nbytes == stored.file.stat().st_size
    assert same(MappedRows(stored)(mx.array([499])), matrix[499:])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("packing", [Packing("affine", 8, 64), Packing("affine", 4, 32), MXFP4], ids=str)
def test_packed_rows(tmp_path: Path, metal: StandIn, way: Callable[[Stored], Rows], packing: Packing) -> None:
    matrix = mx.random.normal((512, 128), key=mx.random.key(2))
    parts = mx.quantize(matrix, **asdict(packing))
    stored = save(tmp_path / "model.safetensors", **dict(zip("wsb", parts, strict=False)))
    whole = mx.dequantize(*parts, **asdict(packing))
    rows = Embedding(tuple(way(stored[name]) for name in "wsb"[: len(parts)]), mx.float32, packing)
    assert same(rows(mx.array(IDS)), whole[mx.array(IDS)].astype(mx.float32))


def test_mapped_rows_need_no_ids(folder: Path, metal: StandIn) -> None:
    """Inside mx.compile ids are unknown: a lazy gather can be built there, rows read on the host can't."""
    stored = stored_tensors(folder)[NAME]
    gathered = mx.compile(lambda ids: MappedRows(stored)(ids + 1))(mx.array([[4, 5]]))
    assert same(gathered, resident(folder)[mx.array([[5, 6]])])
    with pytest.raises(ValueError, match="eval"):
        mx.compile(lambda ids: FileRows(stored)(ids + 1))(mx.array([[4, 5]]))


@pytest.mark.parametrize("bad", [[512], [3, -1], [2**31 - 1]])
def test_ids_outside_the_vocabulary(folder: Path, bad: list[int]) -> None:
    with pytest.raises(RequestError, match="outside the vocabulary of 512"):
        FileRows(stored_tensors(folder)[NAME])(mx.array([bad]))


def test_a_file_cut_off_while_in_use(tmp_path: Path) -> None:
    stored = stored_tensors(write_checkpoint(tmp_path, tiny_config()))[NAME]
    rows = FileRows(stored)
    os.truncate(stored.file, stored.offset + stored.nbytes // 2)
    rows(mx.array([0]))
    with pytest.raises(CheckpointError, match=r"model\.safetensors was cut off while in use"):
        rows(mx.array([0, 511]))


def test_a_file_that_went_away(tmp_path: Path) -> None:
    stored = stored_tensors(write_checkpoint(tmp_path, tiny_config()))[NAME]
    rows = FileRows(stored)
    expected = resident(tmp_path)[:1]
    mx.eval(expected)
    stored.file.unlink()
    assert same(rows(mx.array([0])), expected)  # what is open stays, as for every reader of a file
    with pytest.raises(CheckpointError, match="can't be read"):
        FileRows(stored)


def test_the_file_is_closed_with_its_reader(folder: Path) -> None:
    rows = FileRows(stored_tensors(folder)[NAME])
    descriptor = rows._descriptor
    os.fstat(descriptor)
    del rows
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_open_rows_maps_only_what_proves_right(folder: Path, metal: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = stored_tensors(folder)[NAME]
    assert isinstance(open_rows(stored, lazily=True), MappedRows)
    assert isinstance(open_rows(stored, lazily=False), FileRows)
    metal.refuses = lambda pages: True
    assert isinstance(open_rows(stored, lazily=True), FileRows)
    metal.refuses = lambda pages: False
    metal.gives = lambda pages: np.roll(pages, 1)
    assert isinstance(open_rows(stored, lazily=True), FileRows)
    monkeypatch.setattr(rows_module, "MappedFile", lambda path: MappedFile(path / "missing"))
    assert isinstance(open_rows(stored, lazily=True), FileRows)


def test_logits_are_those_of_a_resident_matrix(folder: Path) -> None:
    model = load(folder)
    found = model.forward(PROMPT)
    table = resident(folder)
    model.transformer.embedding = lambda ids: table[ids].astype(mx.float32)  # type: ignore[assignment, misc]
    assert same(found, model.forward(PROMPT))


def test_nothing_of_the_matrix_is_held(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, tiny_config(vocab_size=20_000))
    gc.collect()
    before = mx.get_active_memory()
    model = load(folder, differentiable=True)
    held = mx.get_active_memory() - before
    assert model.plan.embedding == 0
    assert abs(held - model.resident_bytes) < 100_000 < 20_000 * 64 * 2


@pytest.mark.parametrize("options", [Options(temperature=0, max_tokens=20), Options(seed=3, max_tokens=20)])
def test_a_step_ahead_by_every_way_to_the_rows(
    folder: Path, metal: StandIn, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    """As on a GPU: each token is fed back before it is known, and the answer is that of rows read on the host."""

    def answer(model: Model) -> list[int]:
        return [item for item in Runner(model).run(PROMPT, options) if isinstance(item, int)]

    expected = answer(load(folder))
    load_as_on_a_gpu(monkeypatch)
    model = load(folder)
    assert isinstance(model.transformer.embedding.parts[0], HeldRows)
    assert model.transformer.embedding.mapped_bytes == 0
    assert model.residence.mapped_bytes >= 512 * 64 * 2
    assert answer(model) == expected
    # With a byte too little to hold the matrix.
    memory = model.plan.total - 1
    model = load(folder, memory=memory)
    assert isinstance(model.transformer.embedding.parts[0], MappedRows)
    assert model.transformer.embedding.mapped_bytes >= 512 * 64 * 2
    assert answer(model) == expected
    # The same where the mapping is refused: then each step waits for its token.
    metal.refuses = lambda pages: pages.nbytes > 65_536
    model = load(folder, memory=memory)
    assert isinstance(model.transformer.embedding.parts[0], FileRows)
    assert answer(model) == expected
