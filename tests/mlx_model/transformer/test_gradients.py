"""A model loaded to be differentiated: its gradients are the slopes that central differences find."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_model.model import Model, load
from mlx_model.transformer.blocks import Transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import GPU_WAY, load_as_on_a_gpu

TOKENS = mx.array([[(5 * i * i + 3 * i) % 500 for i in range(25)]])
"""More than the window of the model, 16; sorted by expert on a GPU."""

TOLERANCE = 5e-3
"""Of a slope. float32 rounds a loss of 6 by 4e-7, and a step changes it by some 1e-2."""


def with_projection(transformer: Transformer, name: str, weight: mx.array) -> Transformer:
    attention = transformer.blocks[0].attention
    projections = attention.projections
    changed = replace(projections, **{name: replace(getattr(projections, name), weight=weight)})
    block = replace(transformer.blocks[0], attention=replace(attention, projections=changed))
    return replace(transformer, blocks=[block, *transformer.blocks[1:]])


def with_router(transformer: Transformer, router: mx.array) -> Transformer:
    first, *others = transformer.blocks
    return replace(transformer, blocks=[replace(first, mixture=replace(first.mixture, router=router)), *others])


def with_expert_bias(transformer: Transformer, bias: mx.array) -> Transformer:
    first, *others = transformer.blocks
    gate_up = replace(first.mixture.gate_up, bias=bias)
    return replace(transformer, blocks=[replace(first, mixture=replace(first.mixture, gate_up=gate_up)), *others])


def with_input(transformer: Transformer, rows: mx.array) -> Transformer:
    return replace(transformer, embedding=lambda tokens: rows)  # type: ignore[arg-type]


PLACES: dict[str, tuple[Callable[[Transformer], mx.array], Callable[[Transformer, mx.array], Transformer]]] = {
    "query": (
        lambda transformer: transformer.blocks[0].attention.projections.query.weight,
        lambda transformer, weight: with_projection(transformer, "query", weight),
    ),
    "output": (
        lambda transformer: transformer.blocks[0].attention.projections.output.weight,
        lambda transformer, weight: with_projection(transformer, "output", weight),
    ),
    "router": (lambda transformer: transformer.blocks[0].mixture.router, with_router),
    "expert bias": (lambda transformer: transformer.blocks[0].mixture.gate_up.bias, with_expert_bias),
    "embedding": (lambda transformer: transformer.embedding(TOKENS), with_input),
}
"""Where a gradient is taken: what is there, and a transformer with something else there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("gradients"), tiny_config())


@pytest.fixture(params=["cpu", "gpu"])
def model(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Model:
    if request.param == "gpu":
        load_as_on_a_gpu(monkeypatch, replace(GPU_WAY, differentiable=True))
    return load(folder, differentiable=True)


def loss(transformer: Transformer) -> mx.array:
    """The mean cross-entropy of each token but the first."""
    logits = transformer(TOKENS, transformer.make_cache())[0, :-1]
    picked = mx.take_along_axis(logits, TOKENS[0, 1:, None], axis=-1)
    return (mx.logsumexp(logits, axis=-1, keepdims=True) - picked).mean()


def slope(function: Callable[[mx.array], mx.array], at: mx.array, direction: mx.array, step: float) -> float:
    ahead, behind = (function(at + sign * step * direction).item() for sign in (1, -1))
    return (float(ahead) - float(behind)) / (2 * step)  # type: ignore[arg-type]  # a scalar of floats


@pytest.mark.parametrize("place", PLACES)
def test_a_gradient_is_the_slope(model: Model, place: str) -> None:
    read, changed = PLACES[place]
    transformer = model.transformer
    assert isinstance(transformer, Transformer)

    def of(value: mx.array) -> mx.array:
        return loss(changed(transformer, value))

    at = read(transformer)
    gradient = mx.grad(of)(at)
    noise = mx.array(np.random.default_rng(0).standard_normal(at.shape).astype(np.float32))
    uphill = gradient / mx.linalg.norm(gradient.flatten())
    for direction in (uphill, uphill + noise / mx.linalg.norm(noise.flatten())):
        expected = (gradient * direction).sum().item()
        assert isinstance(expected, float) and expected > 1e-4
        assert slope(of, at, direction, min(0.05, 5e-3 / expected)) == pytest.approx(expected, rel=TOLERANCE)


def test_it_computes_the_same(model: Model, folder: Path) -> None:
    expected, found = (np.array(each.transformer(TOKENS, each.make_cache())) for each in (load(folder), model))
    assert model.transformer.compute.differentiable
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()
