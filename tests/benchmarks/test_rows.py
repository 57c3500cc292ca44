"""The benchmark of rows: the experts that a step reads are those that its rows chose, each counted once."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mlx_model import load
from tests.benchmarks.peers.rows import prompts_for
from tests.benchmarks.rows import experts_read, modelled, routed, step_bytes
from tests.fixtures.checkpoints import tiny_config, write_checkpoint


@pytest.mark.parametrize("differentiable", [False, True], ids=["compiled", "by MLX"])
def test_a_step_reads_each_expert_once(tmp_path: Path, differentiable: bool) -> None:
    """For 1, 2, 4 and 8 rows the union of what each row alone chooses, layer by layer, and the dense part once."""
    model = load(write_checkpoint(tmp_path, tiny_config()), differentiable=differentiable)
    top_k, experts = model.config.num_experts_per_tok, model.config.num_local_experts
    counted = [experts_read(model, rows) for rows in (1, 2, 4, 8)]
    assert counted[0] == modelled(model, 1) == top_k
    assert counted == sorted(counted)
    assert all(top_k <= found <= min(experts, top_k * rows) for rows, found in zip((1, 2, 4, 8), counted, strict=True))
    per_expert = model.plan.experts / experts
    assert [step_bytes(model, found) for found in counted] == [int(model.plan.dense + n * per_expert) for n in counted]
    with routed(model) as seen:
        caches = [model.make_cache() for _ in range(2)]
        mx.eval(model.transformer(mx.array([[5, 5]]), caches, "all"))
    assert seen == [top_k] * model.config.num_hidden_layers, "rows that choose the same experts read them once"
    assert prompts_for(2, 99)[1] != prompts_for(2, 99)[0] == np.random.default_rng(0).integers(0, 99, 16).tolist()
