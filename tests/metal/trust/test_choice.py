"""The program's own trial of each kernel, with the demo model's operations: on the bench, and on a Mac on its GPU."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import mlx.core as mx
import pytest

from metal.launch import executed_by
from metal.trust.machine import MetalGpu
from metal.trust.select import KernelChoice, choose
from metal.trust.selftest import decodes_fp4
from mlx_model.memory import device
from mlx_model.model import load
from mlx_model.transformer.kernels import decode_operations, make_decoder
from tests import msl as bench

NAMES = {"qkv", "attend", "o_proj", "route", "gate_up", "down", "lm_head"}


def choice(path: Path, machine: MetalGpu | None = None, steps: Iterator[int] | None = None) -> KernelChoice:
    """Kernels wherever they are right; with `steps`, time is what they say, not what it costs to emulate a GPU."""
    transformer = load("demo", differentiable=True).mlx_transformer
    possible = decode_operations(make_decoder(transformer), transformer, table=not decodes_fp4())
    clock = time.perf_counter if steps is None else lambda: float(next(steps))
    return choose(possible, mode="metal", machine=machine, path=path, clock=clock)


def wrong(found: KernelChoice) -> list[str]:
    return [f"{verdict.operation}: {verdict.reason}" for verdict in found.verdicts if verdict.variant is None]


def test_every_kernel_passes_the_trial_on_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "on_gpu", lambda: True)
    with executed_by(bench.executor("fast")):
        found = choice(tmp_path / "kernels.json", MetalGpu("bench", 10, "Linux", "any"), count())
    assert set(found) == NAMES
    assert not wrong(found)


@pytest.mark.skipif(not mx.metal.is_available(), reason="there is no Metal GPU here")
def test_every_kernel_passes_the_trial_on_the_gpu(tmp_path: Path) -> None:
    before = mx.default_device()
    mx.set_default_device(mx.gpu)
    try:
        assert not wrong(choice(tmp_path / "kernels.json"))
    finally:
        mx.set_default_device(before)
