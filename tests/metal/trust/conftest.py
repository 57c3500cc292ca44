"""Choosing on a GPU that is a stand-in, with a file in a temporary folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from metal.launch import executed_by
from metal.operation import Operation
from metal.trust.machine import MetalGpu
from metal.trust.select import KernelChoice, choose
from tests.metal.trust.gpu import MACHINE, Gpu


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kernels.json"


@pytest.fixture
def chosen(gpu: Gpu, path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., KernelChoice]:
    """Chooses as on a Mac whose GPU is `gpu`, and counts afresh what is logged and called."""

    def choice(
        *operations: Operation,
        mode: str = "auto",
        machine: MetalGpu = MACHINE,
        sizes: str = "",
        rechecks: bool = False,
    ) -> KernelChoice:
        caplog.clear()
        gpu.calls.clear()
        with executed_by(gpu):
            return choose(
                operations, sizes=sizes, mode=mode, machine=machine, path=path, clock=gpu.clock, rechecks=rechecks
            )

    return choice
