"""The mixture of experts by MLX's operations agrees with float64."""

import mlx.core as mx
import numpy as np
import pytest

from metal.portable import best, route, swiglu
from metal.weights import Mixture
from mlx_model.model import load
from mlx_model.transformer.blocks import Transformer, mixture_of_experts
from mlx_model.transformer.experts import sorted_rows
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.graph import record
from tests.fixtures.reference import dequantised


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    folder = write_checkpoint(tmp_path_factory.mktemp("tiny"), tiny_config())
    transformer = load(folder, differentiable=True).transformer
    assert isinstance(transformer, Transformer)
    return transformer.blocks[0].mixture


def chosen_experts(x: np.ndarray, layer: Mixture) -> mx.array:
    return best(route(mx.array(x), layer)[1], layer.top_k)[0]


@pytest.mark.parametrize("tokens", [1, 2, 3, 15, 16, 50])
def test_experts_equal_float64(layer: Mixture, tokens: int) -> None:
    x = np.random.default_rng(tokens).normal(size=(tokens, 64)).astype(np.float32)
    experts = chosen_experts(x, layer)
    rows = np.array(sorted_rows(mx.array(x), experts, layer))

    gate_up, down = layer.gate_up, layer.down
    for token, chosen in enumerate(np.array(experts)):
        for slot, expert in enumerate(chosen):
            y = dequantised(gate_up, expert) @ x[token].astype(np.float64) + np.array(gate_up.bias)[expert]
            gate, up = np.minimum(y[::2], 7.0), np.clip(y[1::2], -7.0, 7.0)
            hidden = gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
            expected = dequantised(down, expert) @ hidden + np.array(down.bias)[expert]
            assert np.abs(rows[token, slot] - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_route_norms_and_scores(layer: Mixture) -> None:
    x = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    normed, logits = route(mx.array(x), layer)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + layer.eps) * np.array(layer.norm)
    assert np.abs(np.array(normed.natural()) - expected).max() < 1e-5
    scores = expected @ np.array(layer.router, np.float64).T + np.array(layer.router_bias)
    assert np.abs(np.array(logits) - scores).max() < 1e-5 * np.abs(scores).max()


def test_the_best_are_the_largest_logits_with_their_own_softmax() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 8))
    experts, weights = (np.array(part) for part in best(mx.array(logits.astype(np.float32)), 4))
    assert np.array_equal(experts, np.argsort(-logits, axis=-1)[:, :4])
    exp = np.exp(np.take_along_axis(logits, experts.astype(int), -1))
    assert np.abs(weights - exp / exp.sum(-1, keepdims=True)).max() < 1e-6


def test_equal_logits_go_to_the_lowest_index() -> None:
    tied = mx.array([[1.0, 3.0, 2.0, 3.0, 2.0, 2.0, 2.0, 0.0]])
    assert np.array(best(tied, 4)[0]).tolist() == [[1, 3, 2, 4]]


def test_the_mixture_is_the_weighted_sum_and_the_residual(layer: Mixture) -> None:
    x = mx.array(np.random.default_rng(3).normal(size=(5, 64)).astype(np.float32))
    normed, logits = route(x, layer)
    experts, weights = best(logits, layer.top_k)
    rows = np.array(sorted_rows(normed.natural(), experts, layer), np.float64)
    expected = np.array(x) + (rows * np.array(weights)[..., None]).sum(axis=1)
    assert np.abs(np.array(mixture_of_experts(x, layer)) - expected).max() < 1e-5


@pytest.mark.parametrize("device", [mx.cpu, mx.gpu])
def test_swiglu_clamps_gate_above_only_and_up_on_both_sides(
    device: mx.DeviceType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is, and as MLX compiles it where it computes on a GPU."""
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(device))
    gate = np.array([-30.0, -8.0, 0.0, 3.0, 7.0, 9.0], np.float32)
    for up, clamped in ((-9.0, -7.0), (-2.0, -2.0), (9.0, 7.0)):
        wide = gate.astype(np.float64)
        g = np.minimum(wide, 7.0)
        expected = g / (1 + np.exp(-1.702 * g)) * (clamped + 1)
        found = np.array(swiglu(mx.array(gate), mx.full(gate.shape, up), 7.0))
        assert np.abs(found - expected).max() < 1e-5


def test_mlx_knows_that_long_inputs_are_sorted(layer: Mixture) -> None:
    """The last argument of its primitive: without it each row would read its expert anew."""
    for tokens, is_sorted in ((1, False), (40, True)):
        x, experts = mx.zeros((tokens, 64)), mx.zeros((tokens, 2), mx.uint32)
        mx.eval(experts)
        graph = record(lambda traced, experts=experts: [sorted_rows(traced, experts, layer)], x)
        assert [node.arguments[-1] for node in graph.nodes if node.primitive == "GatherQMM"] == [is_sorted] * 2


def test_experts_are_really_used(layer: Mixture) -> None:
    """Synthetic routers spread tokens over all experts, or the tests above would show little."""
    x = np.random.default_rng(1).normal(size=(200, 64)).astype(np.float32)
    assert len(set(np.array(chosen_experts(x, layer)).ravel().tolist())) == 8
