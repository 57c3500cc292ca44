"""A kernel's text and one launch of it as plain data, and how MLX runs that.

A `Call` has everything that decides a launch: so the same call that a Mac's GPU runs can be handed to another
executor (`executed_by`), as the tests do, which run its text on the CPU.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

import mlx.core as mx

Parameters = tuple[tuple[str, int | bool | mx.Dtype], ...]
"""Template arguments of a kernel, by name."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """The text of a kernel: the body, from which MLX makes a function of its inputs and outputs, and what precedes it.

    Text is ASCII. MLX looks for the names of thread attributes (`thread_index_in_simdgroup` ...) and of inputs' shapes
    (`<input>_shape`) in the body, and there alone.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str
    header: str

    @staticmethod
    def load(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], headers: tuple[str, ...] = ()) -> "Kernel":
        """The kernel of metal/kernels/NAME.metal after the `headers` (NAME.h), in their order."""
        return Kernel(name, inputs, outputs, _text(f"{name}.metal"), "".join(_text(f"{name}.h") for name in headers))


@dataclass(frozen=True, slots=True)
class Call:
    """One launch. `grid` counts threads and is a multiple of `threadgroup`, as simdgroup reductions need."""

    kernel: Kernel
    inputs: tuple[mx.array, ...]
    parameters: Parameters
    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]
    output_shapes: tuple[tuple[int, ...], ...]
    output_dtypes: tuple[mx.Dtype, ...]


Executor = Callable[[Call], list[mx.array]]


@lru_cache(maxsize=32)
def scalar(value: float, dtype: mx.Dtype) -> mx.array:
    """A number as the 0-d array that a kernel takes; the same numbers come again at every launch."""
    return mx.array(value, dtype)


def launch(call: Call) -> list[mx.array]:
    """The outputs of a call, uninitialised where the kernel writes nothing. Lazy, like all of MLX."""
    return _executor(call)


@contextmanager
def executed_by(executor: Executor) -> Iterator[None]:
    """Within this context, calls go to `executor` instead of the GPU."""
    global _executor
    previous, _executor = _executor, executor
    try:
        yield
    finally:
        _executor = previous


def run_with_mlx(call: Call, **options: Any) -> list[mx.array]:
    """The outputs of a call, computed by MLX; `options` go to it as they are (`verbose`, `stream`)."""
    return _compiled(call.kernel)(
        inputs=list(call.inputs),
        template=list(call.parameters),
        grid=call.grid,
        threadgroup=call.threadgroup,
        output_shapes=list(call.output_shapes),
        output_dtypes=list(call.output_dtypes),
        **options,
    )


_executor: Executor = run_with_mlx


@cache
def _compiled(kernel: Kernel) -> Callable[..., list[mx.array]]:
    function = mx.fast.metal_kernel(
        name=f"gptoss_{kernel.name}",
        input_names=list(kernel.inputs),
        output_names=list(kernel.outputs),
        source=kernel.source,
        header=kernel.header,
    )
    return cast(Callable[..., list[mx.array]], function)  # MLX's stub says `object`


@cache
def _text(file: str) -> str:
    """A kernel file without its comments: MLX hashes the whole text at every launch, and searches it for names."""
    text = (files("metal") / "kernels" / file).read_text(encoding="ascii")
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
