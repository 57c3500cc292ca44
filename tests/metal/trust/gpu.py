"""A stand-in for a GPU, with a clock of its own, and a machine to go with it."""

import logging
from collections.abc import Callable, Sequence

import mlx.core as mx
import pytest

from metal.launch import Call, Kernel, launch
from metal.operation import Operation, Variant
from metal.trust.machine import MetalGpu
from metal.trust.select import KernelChoice

MACHINE = MetalGpu("Apple M1 Max", 32, "macOS 15.5", "0.32.4")
OTHER = MetalGpu("Apple M5", 10, "macOS 26.1", "0.32.4")
KERNEL = Kernel("doubled", ("x",), ("y",), "y[i] = 2 * x[i];", "")
Choose = Callable[..., KernelChoice]
"""What the fixture `chosen` is."""

WIDE, NARROW, ODD = (("rows", 4),), (("rows", 2),), (("rows", 3),)


class Gpu:
    """A stand-in for the GPU: doubles its input after `seconds` on a clock of its own; `fails` per variant."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds: dict[Variant | None, float] = {None: 3e-4, WIDE: 1e-4, NARROW: 2e-4, ODD: 2e-4}
        self.fails: dict[Variant, Callable[[mx.array], mx.array]] = {}
        self.calls: list[Variant | None] = []

    def clock(self) -> float:
        return self.now

    def spend(self, way: Variant | None) -> None:
        self.calls.append(way)
        self.now += self.seconds[way]

    def __call__(self, call: Call) -> list[mx.array]:
        variant = tuple((name, value) for name, value in call.parameters if isinstance(value, int))
        self.spend(variant)
        doubled = call.inputs[0] * 2
        return [self.fails[variant](doubled) if variant in self.fails else doubled]

    def operation(self, name: str = "doubled", variants: tuple[Variant, ...] = (WIDE, NARROW)) -> Operation:
        def run(x: mx.array, variant: Variant | None) -> tuple[mx.array, ...]:
            if variant is None:
                self.spend(None)
                return (x + x,)
            return tuple(launch(Call(KERNEL, (x,), variant, (32, 1, 1), (32, 1, 1), (x.shape,), (x.dtype,))))

        def arguments(seed: int) -> Sequence[mx.array]:
            return [mx.random.normal((32,), key=mx.random.key(seed))]

        return Operation(name, run, arguments, variants, tolerance=1e-6, weight_bytes=64 << 20)


def compile_error(result: mx.array) -> mx.array:
    """What MLX raises where Apple's compiler refuses a kernel."""
    raise RuntimeError("[metal::Device] Unable to build metal library from source\nerror: expected ';'")


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What went to the log for a person to see."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
