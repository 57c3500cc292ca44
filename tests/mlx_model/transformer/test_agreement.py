"""The logits are those of transformers' GptOssForCausalLM, however the tokens come in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from mlx_model.model import Model, load
from mlx_model.transformer.compute import GpuCompute
from tests.fixtures.gpu_way import load_as_on_a_gpu
from tests.mlx_model.conftest import REFERENCES
from tests.oracle.cases import Reference

TOLERANCE = 2e-5
"""Of the largest logit. Rounding alone moves transformers' own float32 logits by 1e-6 of it."""

TINY = REFERENCES["tiny"]
YARN = TINY.case.config["rope_scaling"]
ModelOf = Callable[[Reference], Model]


def difference(
    logits: mx.array, reference: Reference, start: int = 0, prompts: slice = slice(None)
) -> tuple[float, NDArray[np.bool_]]:
    """Largest error relative to the largest logit, and where the argmax is another. `start`: of `logits`."""
    found = np.array(logits)
    assert found.dtype == np.float32
    end = start + found.shape[1]
    stored = (reference.positions >= start) & (reference.positions < end)
    expected = reference.logits[prompts, stored]
    assert expected.size, "no stored position here"
    error = np.abs(found[:, reference.positions[stored] - start] - expected).max()
    wrong = found.argmax(axis=-1) != reference.argmax[prompts, start:end]
    return float(error / np.abs(reference.logits).max()), wrong


def assert_agrees(logits: mx.array, reference: Reference, start: int = 0, prompts: slice = slice(None)) -> None:
    """`logits` [B, T, vocab] are the reference's from position `start` on, for these prompts."""
    error, wrong = difference(logits, reference, start, prompts)
    assert error < TOLERANCE
    assert not wrong.any()


def in_chunks(model: Model, tokens: NDArray[np.int32], size: int, cache: Any) -> mx.array:
    """Logits of `tokens` [B, T] fed in chunks."""
    chunks = [tokens[:, start : start + size] for start in range(0, tokens.shape[1], size)]
    return mx.concatenate([model.forward(mx.array(chunk), cache) for chunk in chunks], axis=1)


def test_whole_prompt(model: Model, reference: Reference) -> None:
    logits = model.forward(mx.array(reference.tokens))
    assert logits.shape == (*reference.tokens.shape, reference.case.config["vocab_size"])
    assert_agrees(logits, reference)


def test_token_by_token(model: Model, reference: Reference) -> None:
    cache = model.make_cache()
    assert_agrees(in_chunks(model, reference.tokens, 1, cache), reference)
    assert cache.offset == reference.case.length


@pytest.mark.parametrize("size", [3, 16, 128, 129])
def test_chunked_prefill(model: Model, reference: Reference, size: int) -> None:
    assert_agrees(in_chunks(model, reference.tokens, size, model.make_cache()), reference)


def test_prefill_then_decode(model: Model, reference: Reference) -> None:
    cache, middle = model.make_cache(), reference.case.length // 2
    prefill = model.forward(mx.array(reference.tokens[:, :middle]), cache)
    decode = in_chunks(model, reference.tokens[:, middle:], 1, cache)
    assert_agrees(mx.concatenate([prefill, decode], axis=1), reference)


def test_one_prompt_of_a_batch(model_of: ModelOf) -> None:
    for row, tokens in enumerate(TINY.tokens):
        assert_agrees(model_of(TINY).forward(tokens.tolist()), TINY, prompts=slice(row, row + 1))


@pytest.mark.parametrize("chunk", [1, 5, 64])
@pytest.mark.parametrize("remember", ["snapshot", "mark"])
def test_restore_after_the_window_wrapped(model_of: ModelOf, remember: str, chunk: int) -> None:
    """Both prompts are the same up to the fork; the first one then runs on for more than a window."""
    model, fork = model_of(TINY), TINY.case.shared
    assert fork > 2 * TINY.case.config["sliding_window"]
    assert TINY.case.length - fork > TINY.case.config["sliding_window"]
    first, second = TINY.tokens[:1], TINY.tokens[1:]
    cache = model.make_cache()
    if remember == "mark":
        cache.mark([fork])
        in_chunks(model, first, chunk, cache)
    else:
        in_chunks(model, first[:, :fork], chunk, cache)
        assert cache.snapshot() == fork
        in_chunks(model, first[:, fork:], chunk, cache)
    for _ in range(2):  # the snapshot survives being used
        assert cache.restore(fork) == fork == cache.offset
        tail = in_chunks(model, second[:, fork:], chunk, cache)
        assert_agrees(tail, TINY, start=fork, prompts=slice(1, 2))


def test_restore_between_snapshots(model_of: ModelOf) -> None:
    """`restore` goes to the last snapshot at or before the position; from there everything is as before."""
    model = model_of(TINY)
    cache = model.make_cache()
    for start in range(0, 60, 6):
        model.forward(mx.array(TINY.tokens[:, start : start + 6]), cache)
        cache.snapshot()
    assert cache.restore(59) == 54
    for position, restorable in ((54, 54), (53, 48), (31, 30), (29, 24)):
        assert cache.restore(position) == restorable == cache.offset
        tail = TINY.tokens[:, restorable:]
        assert_agrees(in_chunks(model, tail, 9, cache), TINY, start=restorable)
        assert cache.restore(restorable) == restorable


def test_restore_without_snapshot(model_of: ModelOf) -> None:
    """Inside the first window any position can be restored; beyond it a window nobody kept is gone."""
    model, window = model_of(TINY), TINY.case.config["sliding_window"]
    cache = model.make_cache()
    model.forward(mx.array(TINY.tokens[:, : window - 1]), cache)
    assert cache.restore(5) == 5
    assert_agrees(model.forward(mx.array(TINY.tokens[:, 5:]), cache), TINY, start=5)
    restored = cache.restore(TINY.case.length - 4)
    assert 0 <= restored <= TINY.case.length - 4
    rest = model.forward(mx.array(TINY.tokens[:, restored:]), cache)
    assert_agrees(rest, TINY, start=restored)


def test_sharded_checkpoint(tmp_path: Path) -> None:
    model = load(TINY.write_checkpoint(tmp_path, shards=3))
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    assert_agrees(model.forward(mx.array(TINY.tokens)), TINY)


@pytest.mark.parametrize("name", ["tiny", "window-128"])
def test_the_path_taken_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """What it does on a GPU (matrices by MLX, experts sorted, fused SwiGLU), computed on the CPU in float32."""
    load_as_on_a_gpu(monkeypatch, GpuCompute(dtype=mx.float32))
    reference = REFERENCES[name]
    model = load(reference.write_checkpoint(tmp_path))
    mx.disable_compile()  # on a CPU MLX would compile with the system's C++ compiler, if there is one
    try:
        assert_agrees(model.forward(mx.array(reference.tokens)), reference)
        assert_agrees(in_chunks(model, reference.tokens, 3, model.make_cache()), reference)
    finally:
        mx.enable_compile()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("window-128", {"sliding_window": 127}, id="window of 127"),
        pytest.param("window-128", {"sliding_window": 129}, id="window of 129"),
        pytest.param("window-128", {"layer_types": ["full_attention"] * 3}, id="no window"),
        pytest.param("window-128", {"rope_scaling": YARN | {"truncate": True}}, id="rounded YaRN"),
        pytest.param("tiny", {"num_experts_per_tok": 3}, id="three experts"),
        pytest.param("tiny", {"swiglu_limit": 7.5}, id="other SwiGLU limit"),
        pytest.param("constants", {"rms_norm_eps": 0.04}, id="other epsilon"),
        pytest.param("constants", {"rope_theta": 10500}, id="other theta"),
    ],
)
def test_the_reference_tells_near_misses_apart(
    with_config: Callable[[Reference, dict[str, Any]], Model], name: str, changes: dict[str, Any]
) -> None:
    """Each of these is a mistake some gpt-oss implementation has shipped, or a constant it could overlook."""
    reference = REFERENCES[name]
    model = with_config(reference, changes)
    error, _ = difference(model.forward(mx.array(reference.tokens)), reference)
    assert error > 2 * TOLERANCE
