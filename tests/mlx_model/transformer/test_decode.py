"""The whole decode step on the kernels, run one after another on the CPU, against the transformer's own blocks."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import mlx.core as mx
import numpy as np
import pytest

from metal.launch import executed_by
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.config import ModelConfig
from mlx_model.weights.loader import load_transformer
from tests import msl as bench
from tests.fixtures.by_kernels import by_kernels
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import GPU_WAY

PROMPT = [(5 * i * i + 3 * i) % 500 for i in range(45)]
ANSWER = [(7 * i * i + i) % 500 for i in range(5)]
"""At positions 45 to 49, so that a window's ring of 16 begins anew at the fourth."""

SIZES = {
    "hidden_size": 192,
    "intermediate_size": 96,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("decode"), tiny_config(**SIZES, sliding_window=16))


Load = Callable[[mx.Dtype, int | None], Transformer]


@pytest.fixture
def load(folder: Path) -> Load:
    """Loads a transformer computing in a dtype, with its matrices as MLX's GPU backend has them."""

    def loaded(dtype: mx.Dtype, bits: int | None) -> Transformer:
        return load_transformer(folder, ModelConfig.load(folder), replace(GPU_WAY, dtype=dtype), bits)[0]

    return loaded


def with_kernels(transformer: Transformer) -> Transformer:
    """The same transformer, decoding on the first variant of every kernel."""
    return replace(transformer, decoder=by_kernels(transformer))


def answered(
    transformer: Transformer, mode: Literal["fast", "trace"] = "fast", answer: Sequence[int] = ANSWER
) -> mx.array:
    """Logits [n, vocab] of an answer, token by token, behind PROMPT, which MLX's operations compute."""
    cache = transformer.make_cache()
    mx.eval(transformer(mx.array([PROMPT]), cache, "none"))
    with executed_by(bench.executor(mode)):
        logits = [transformer(mx.array([[token]]), cache)[0] for token in answer]
    return mx.concatenate(logits)


def error(found: mx.array, expected: mx.array) -> float:
    """The largest, as a share of the largest logit."""
    return float(np.array(mx.abs(found - expected).max() / mx.abs(expected).max()))


@pytest.mark.parametrize("bits", [None, 8, 6, 4])
def test_logits_are_those_of_the_blocks(load: Load, bits: int | None) -> None:
    transformer = load(mx.float32, bits)
    assert error(answered(with_kernels(transformer)), answered(transformer)) < 2e-5


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_in_16_bits_they_are_no_further_from_the_truth(load: Load, dtype: mx.Dtype) -> None:
    truth = answered(load(mx.float32, None))
    transformer = load(dtype, None)
    kernels, blocks = answered(with_kernels(transformer)), answered(transformer)
    assert error(kernels, truth) <= error(blocks, truth)


def test_a_step_is_traced_clean(load: Load) -> None:
    answered(with_kernels(load(mx.bfloat16, 8)), "trace", ANSWER[:1])
