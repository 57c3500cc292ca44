"""A decode step with adapters: only operations that have one leave the kernels; its logits are those of the blocks."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from metal.trust.select import Verdict
from mlx_model.transformer.adapters import MATRICES, Adapters, adapted, adapted_findings, shapes
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.kernels import KernelFindings
from mlx_model.weights.loader import load_transformer
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.gpu_way import GPU_WAY
from tests.mlx_model.transformer.test_decode import SIZES, answered, error, with_kernels


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    folder: Path = write_checkpoint(
        tmp_path_factory.mktemp("adapters"), tiny_config(**SIZES, sliding_window=16, num_hidden_layers=2)
    )
    return load_transformer(folder, ModelConfig.load(folder), GPU_WAY)[0]


def adapters_of(config: ModelConfig, *matrices: str, layers: tuple[int, ...] = (0, 1)) -> Adapters:
    rng, arrays, scales = np.random.default_rng(3), dict[str, mx.array](), dict[str, float]()
    for layer in layers:
        for matrix in matrices:
            for part, shape in zip("ab", shapes(config, matrix, 2), strict=True):
                arrays[f"{layer}.{matrix}.{part}"] = mx.array(rng.normal(0, 0.2, shape).astype(np.float32))
            scales[f"{layer}.{matrix}"] = 1.5
    return Adapters(arrays, scales)


@pytest.mark.parametrize(
    ("matrices", "operations"),
    [
        (("k_proj", "down_proj"), ["qkv", "down"]),
        (MATRICES, ["qkv", "o_proj", "route", "gate_up", "down"]),
    ],
)
def test_logits_are_those_of_the_blocks(
    transformer: Transformer, matrices: tuple[str, ...], operations: list[str]
) -> None:
    adapters = adapters_of(transformer.config, *matrices, layers=(1,))
    kernels = adapted(with_kernels(transformer), adapters)
    assert kernels.decoder is not None
    assert [name for name, variant in kernels.decoder.choice.items() if variant is None] == operations
    expected = answered(adapted(transformer, adapters))
    assert error(answered(kernels), expected) < 2e-5
    assert error(answered(transformer), expected) > 1e-3, "the adapters change nothing"


def test_the_transformer_without_them_stays_as_it_was(transformer: Transformer) -> None:
    before = answered(transformer)
    adapted(transformer, adapters_of(transformer.config, *MATRICES))
    assert mx.array_equal(answered(transformer), before)


def test_a_verdict_says_why_an_operation_leaves_the_kernels(transformer: Transformer) -> None:
    findings = KernelFindings((Verdict("qkv", "a variant", "faster"), Verdict("down", "another", "faster")))  # type: ignore[arg-type]
    changed = adapted_findings(findings, adapters_of(transformer.config, "q_proj"))
    assert changed.verdicts[1] is findings.verdicts[1]
    assert changed.verdicts[0].variant is None
    assert "an adapter" in changed.verdicts[0].reason
