"""What only a GPU takes, run on MLX's CPU backend: matrices as stored, sorted experts, the step computed ahead."""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.generation.runner import Runner
from mlx_model.memory import device
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.compute import GpuCompute
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import GPU_WAY, load_as_on_a_gpu

PROMPT = [(5 * i * i + 3 * i) % 500 for i in range(70)]
GREEDY = Options(temperature=0, max_tokens=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config())


@pytest.fixture
def cpu_model(folder: Path) -> Model:
    return load(folder)


@pytest.fixture
def as_on_a_gpu(cpu_model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    load_as_on_a_gpu(monkeypatch)
    yield


@pytest.fixture
def gpu_model(folder: Path, as_on_a_gpu: None) -> Model:
    return load(folder)


def tokens(model: Model, prompt: list[int], options: Options = GREEDY) -> list[int]:
    return [item for item in Runner(model).run(prompt, options) if isinstance(item, int)]


def test_logits(folder: Path, cpu_model: Model, gpu_model: Model) -> None:
    assert gpu_model.transformer.compute is GPU_WAY
    expected, found = (np.array(model.forward(PROMPT)) for model in (cpu_model, gpu_model))
    assert np.abs(expected - found).max() < 2e-5 * np.abs(expected).max()


def test_bfloat16_is_computed_where_it_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded to 8 bits in each layer, so far from equal; but near, finite, and handed out as float32."""
    expected = np.array(load(folder).forward(PROMPT[:8]))
    load_as_on_a_gpu(monkeypatch, GpuCompute())
    model = load(folder)
    assert model.transformer.compute.dtype == mx.bfloat16
    assert isinstance(model.transformer, Transformer)
    assert model.transformer.blocks[0].attention.projections.norm.dtype == mx.bfloat16
    logits = model.forward(PROMPT[:8])
    assert logits.dtype == mx.float32
    error = np.sqrt(((np.array(logits) - expected) ** 2).mean() / (expected**2).mean())
    assert 1e-4 < error < 0.3


def test_a_step_ahead_samples_the_same(cpu_model: Model, gpu_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = tokens(gpu_model, PROMPT), tokens(gpu_model, PROMPT, Options(seed=3, max_tokens=20, repetition_penalty=1.3))
    monkeypatch.setattr(device, "on_gpu", lambda: False)
    assert tokens(cpu_model, PROMPT) == ahead[0]
    assert tokens(cpu_model, PROMPT, Options(seed=3, max_tokens=20, repetition_penalty=1.3)) == ahead[1]


def test_what_was_fed_ahead_is_reused(gpu_model: Model) -> None:
    runner = Runner(gpu_model)
    first = [item for item in runner.run(PROMPT, GREEDY) if isinstance(item, int)]
    longer = [*PROMPT, *first, 1, 2]
    assert [item for item in runner.run(longer, GREEDY) if isinstance(item, int)] == tokens(gpu_model, longer)
    assert runner.stats.reused_tokens == len(PROMPT) + len(first)
