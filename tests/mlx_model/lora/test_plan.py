"""The memory of a run: planned as it was measured, at the most bits that fit, and refused with what would."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlx_model.errors import BudgetError
from mlx_model.hub.names import resolve
from mlx_model.lora.behaviour import MAX_TOKENS
from mlx_model.lora.plan import LENGTHS, fitting, needs
from mlx_model.lora.recipe import Recipe
from mlx_model.memory.plan import plan
from mlx_model.memory.wishes import Wishes
from mlx_model.transformer.config import PUBLISHED, ModelConfig
from tests.fixtures.checkpoints import hub_config

NARROW = {
    "hidden_size": 576,
    "intermediate_size": 576,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "vocab_size": 20_032,
}

SLIM = NARROW | {"hidden_size": 192, "intermediate_size": 192, "num_local_experts": 8, "vocab_size": 2048}

MEASURED = [
    ({}, 256, 395_100_000),
    ({}, 512, 753_190_000),
    (NARROW, 256, 69_050_000),
    (NARROW, 512, 137_230_000),
    (SLIM, 1024, 184_280_000),
    (SLIM, 2048, 381_370_000),
]
"""Of two layers, as wide as those of 20b or narrower: tokens of a row, half of them learnt, and the bytes that a step
held beyond weights, adapters and moments (mx.get_peak_memory less mx.get_active_memory before it; MLX 0.32.4, CPU)."""

GB = 2**30


@pytest.mark.parametrize(("widths", "length", "measured"), MEASURED)
def test_what_was_measured_is_planned(widths: dict[str, Any], length: int, measured: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(hub_config(num_hidden_layers=2, **widths)))
    run = needs(ModelConfig.load(tmp_path), Recipe(length=length), 16, on_gpu=False)
    planned = run.total - run.weights - run.program - run.adapters * 3 // 5
    assert planned == pytest.approx(measured, rel=0.05)


def fits(gigabytes: float, **recipe: Any) -> int:
    """The bits at which a recipe fits a GPU that may hold so much."""
    budget = int(gigabytes * GB)
    return fitting(PUBLISHED["gpt-oss-20b"], Recipe(**recipe), Wishes(), budget, on_gpu=True).dense_bits


@pytest.mark.parametrize(
    ("gigabytes", "length", "bits"),
    [(13, 2048, 16), (12, 2048, 8), (11.2, 1024, 4), (16, 4096, 16)],
)
def test_20b_is_trained_at_the_most_bits_that_fit(gigabytes: float, length: int, bits: int) -> None:
    assert fits(gigabytes, length=length) == bits


MACS = """
 16, limit raised   2,048 at 16 bits   4,096 at  8 bits
 24                 4,096 at 16 bits   8,192 at  8 bits
 32                 8,192 at 16 bits   8,192 at 16 bits
 48                16,384 at 16 bits  16,384 at 16 bits
 64                16,384 at 16 bits  16,384 at 16 bits
"""
"""The longest rows, by powers of two, with which gpt-oss-20b is trained on each (GUIDE.md): as published, and at the
most bits at which longer ones fit. What a GPU may hold is as in test_streaming.py."""

LIMITS = {"16": 11.45e9, "16, limit raised": 13_312 * 2**20, "24": 17.18e9, "32": 22.91e9, "48": 38.65e9, "64": 51.54e9}


def longest(budget: float, bits: int | None) -> str:
    """The longest row that fits, and the bits of the dense part with it."""
    for length in (16_384, *LENGTHS):
        with suppress(BudgetError):
            wishes = Wishes(dense_bits=bits)
            found = fitting(PUBLISHED["gpt-oss-20b"], Recipe(length=length), wishes, int(budget), on_gpu=True)
            return f"{found.length:6,} at {found.dense_bits:2} bits"
    return "none"


def test_what_each_mac_trains() -> None:
    assert longest(LIMITS["16"], None) == "none"
    lines = [f" {name:16}  {longest(LIMITS[name], 16)}  {longest(LIMITS[name], None)}" for name in [*LIMITS][1:]]
    assert lines == MACS.strip("\n").splitlines()


@pytest.mark.parametrize("on_gpu", [True, False])
@pytest.mark.parametrize("length", [32, 256, 8192])
def test_what_a_run_takes_is_enough_to_answer_in(length: int, on_gpu: bool) -> None:
    """Of a tiny model that is more than what training takes. See finetune._load."""
    for config in (ModelConfig.load(resolve("demo")), *PUBLISHED.values()):
        for bits in (16, 4):
            run = needs(config, Recipe(length=length, layers=(0,), rank=1), bits, on_gpu=on_gpu)
            found = plan(config, run.total, Wishes(run.context, bits), on_gpu=on_gpu, by_mlx=not on_gpu)
            assert found.context == run.context == length + MAX_TOKENS


def test_what_doesnt_fit_is_refused_with_what_would() -> None:
    with pytest.raises(BudgetError, match=r"takes 15 GB; there are 11 GB; --length 1024 would fit"):
        fits(11.05, length=8192)
    with pytest.raises(BudgetError, match=r"the least that can be trained takes .* whether the GPU may hold more"):
        fits(10)


def test_bits_that_are_asked_for_are_kept_to() -> None:
    config, budget = PUBLISHED["gpt-oss-20b"], 16 * GB
    for wishes, bits in ((Wishes(dense_bits=4), 4), (Wishes(stored_bits=8), 8)):
        assert fitting(config, Recipe(), wishes, budget, on_gpu=True).dense_bits == bits


def test_what_costs_more_is_planned_as_more() -> None:
    config, plain = PUBLISHED["gpt-oss-20b"], Recipe()
    least = needs(config, plain, 16, on_gpu=True)
    for changed in (
        replace(plain, length=4096),
        replace(plain, targets=("attention", "experts"), expert_rank=32),
        replace(plain, rank=64),
    ):
        assert needs(config, changed, 16, on_gpu=True).total > least.total
    last = replace(plain, layers=(22, 23))
    assert needs(config, last, 16, on_gpu=True).inputs < least.inputs / 4
