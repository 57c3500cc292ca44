"""The model on compiled layers: its cache goes back and forks, its weights are views, MLX computes where it must."""

import functools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.cpu import available, transformer
from mlx_model.cpu.cache import EVERYTHING
from mlx_model.cpu.kernels.panels import FEW
from mlx_model.cpu.threads import Team
from mlx_model.cpu.transformer import CompiledTransformer
from mlx_model.errors import CheckpointError
from mlx_model.generation.prefixes import PrefixPool
from mlx_model.model import Model, load
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.config import CACHE_STEP, KEY_BLOCK
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.narrow_model import load_narrow

TOKENS = [(7 * i * i + 3) % 500 for i in range(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config())


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder)


@pytest.fixture(scope="module")
def narrow(folder: Path) -> Model:
    return load_narrow(folder)


def logits(model: Model, tokens: list[int], cache: Any) -> np.ndarray:
    return np.array(model.transformer(mx.array([tokens]), cache, "last")).ravel()


def test_threads_that_compute_first_at_once_share_one_team(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is held up while it makes its own, until the second has asked, or waits."""
    monkeypatch.setattr(transformer, "_begun", functools.cache(transformer._begun.__wrapped__))
    asked = threading.Barrier(2)

    def slow(threads: int) -> Team:
        with suppress(threading.BrokenBarrierError):
            asked.wait(0.5)  # two at once come through, one alone does not
        return Team(threads)

    monkeypatch.setattr(transformer, "Team", slow)
    with ThreadPoolExecutor(2) as pool:
        first, second = [pool.submit(transformer.team) for _ in range(2)]
    assert first.result() is second.result()


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


@pytest.mark.parametrize("rows", [2, 5, 8, 16])
@pytest.mark.parametrize("dtype", [None, mx.bfloat16])
def test_a_row_has_the_bits_that_it_has_alone(model: Model, narrow: Model, rows: int, dtype: mx.Dtype | None) -> None:
    """Rows of other lengths, whose order changes, and of which some are left out."""
    model = narrow if dtype else model
    prompts = [TOKENS[at : at + 3 + 41 * at % 150] for at in range(rows)]
    caches, others = ([model.transformer.make_cache(dtype=dtype) for _ in prompts] for _ in range(2))
    assert isinstance(model.transformer, CompiledTransformer)
    for held in (caches, others):
        for prompt, cache in zip(prompts, held, strict=True):
            model.transformer(mx.array([prompt]), cache, "none")
    for step in range(3):
        order = [*range(rows)][:: -1 if step else 1][: rows - step % 2]
        ids = [TOKENS[7 * step + row] for row in order]
        together = np.array(model.transformer(mx.array([ids]), [caches[row] for row in order], "all")[0])
        alone = [logits(model, [token], others[row]) for token, row in zip(ids, order, strict=True)]
        assert np.array_equal(together, np.array(alone))


def test_more_rows_than_few_differ_by_rounding(model: Model) -> None:
    tokens = TOKENS[: FEW + 9]
    caches, others = ([model.make_cache() for _ in tokens] for _ in range(2))
    together = np.array(model.transformer(mx.array([tokens]), caches, "all")[0])
    alone = np.array([logits(model, [token], cache) for token, cache in zip(tokens, others, strict=True)])
    assert 0 < np.abs(together - alone).max() <= 2e-6 * np.abs(alone).max()


@pytest.mark.parametrize("position", [320, 390])
def test_forks_hold_what_they_share_once(model: Model, position: int) -> None:
    """Eight answers to one prompt cost its keys once, and each a block of its own in every layer, once it writes."""
    cache = model.make_cache()
    cache.mark([position])
    logits(model, TOKENS[:position], cache)
    whole = blocks_of([cache])
    forks = [cache, *(cache.fork(position) for _ in range(7))]
    assert blocks_of(forks) == whole
    full = cache.layers[1]._held.blocks[: position // KEY_BLOCK]
    before = [block.numbers.tobytes() for block in full]
    expected = [logits(model, [token], cache.fork(position)) for token in TOKENS[:8]]
    together = np.array(model.transformer(mx.array([TOKENS[:8]]), forks, "all")[0])
    assert np.array_equal(together, expected)
    for layer, blocks in zip(cache.layers, blocks_of(forks), strict=True):
        shared = position // KEY_BLOCK if layer.window == EVERYTHING else -(-position // KEY_BLOCK) - 1
        assert len(blocks) <= shared + 8 + (layer.window < EVERYTHING)
    assert len(cache.pieces | forks[1].pieces) == position // KEY_BLOCK + 2
    for fork in forks:
        assert [block.address for block in fork.layers[1]._held.blocks[: len(full)]] == [each.address for each in full]
    assert [block.numbers.tobytes() for block in full] == before


def test_the_pool_counts_what_a_fork_shares_once(model: Model) -> None:
    """Where another answer to the same prompt fits, a prompt as long of another conversation may not."""
    pool = PrefixPool(model)
    prefix = pool.take(TOKENS)
    prefix.cache.mark([330])
    prefix.ids += TOKENS[:330]
    logits(model, prefix.ids, prefix.cache)
    prefix.in_use = True
    growing, beside = {prefix: 1}, CACHE_STEP + pool._windows(341, 1)
    pool._room = pool._size(prefix, 1) + beside
    assert pool.fits(TOKENS[:340], 0, growing)
    assert not pool.fits(TOKENS[:340][::-1], 0, growing)
    pool._room -= 1
    assert not pool.fits(TOKENS[:340], 0, growing)
    pool._room += 1
    fork = pool.take(TOKENS[:340])
    assert fork is not prefix and fork.ids == TOKENS[:330]
    fork.in_use = True
    assert pool.make_room({prefix: 1, fork: 1})
    assert pool._together({prefix: 1, fork: 1}) < pool._size(prefix, 1) + pool._size(fork, 1)


def blocks_of(caches: list[Any]) -> list[set[int]]:
    """The addresses of all blocks that the caches hold, of each layer."""
    return [
        {block.address for layer in layers for held in (layer._held, *layer._marked.values()) for block in held.blocks}
        for layers in zip(*(cache.layers for cache in caches), strict=True)
    ]


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
