"""Records the graph that MLX would compute on Metal, on a machine that has none.

`mx.export_function` traces a function without computing it. On a CPU, though, MLX takes its fused operations apart and
so does tracing with compiled functions. `as_on_metal` puts stand-ins in their place: kernels that are never run, named
after the primitive that Metal would run.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import mlx.core as mx

STAND_IN = "standing_in_for_"
_FUSED = {
    "rms_norm": ("RMSNorm", 2),
    "rope": ("RoPE", 1),
    "scaled_dot_product_attention": ("ScaledDotProductAttention", 3),
}
"""Functions of mx.fast, the primitive Metal runs for each, and how many of the arguments are its data."""

COMPILED, COMPILED_END = "Compiled", "CompiledEnd"
"""What a compiled function's inputs and outputs pass through."""


@dataclass(frozen=True)
class Node:
    """One primitive: the names of its arrays, the shapes of its results, its own arguments."""

    primitive: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Graph:
    """Primitives in the order of evaluation. `given` are the shapes of the arrays that are there beforehand."""

    nodes: tuple[Node, ...]
    given: dict[str, tuple[int, ...]]


def record(function: Callable[..., Sequence[mx.array]], *arguments: mx.array) -> Graph:
    """The graph of `function(*arguments)`, traced within `as_on_metal`. Nothing is computed."""
    nodes: list[Node] = []
    given: dict[str, tuple[int, ...]] = {}

    def take(event: dict[str, Any]) -> None:
        match event["type"]:
            case "inputs":
                given.update((name, tuple(shape)) for name, shape, _ in event["inputs"])
            case "constants":
                given.update((name, tuple(array.shape)) for name, array in event["constants"])
            case "primitive":
                nodes.append(_node(event))

    def traced(*inputs: mx.array) -> list[mx.array]:
        global _recording
        _recording = True
        try:
            return list(function(*inputs))
        finally:
            _recording = False

    mx.export_function(take, traced, *arguments)
    return Graph(tuple(nodes), given)


def _node(event: dict[str, Any]) -> Node:
    primitive, arguments = event["name"], tuple(event["arguments"])
    if primitive == "CustomKernel" and STAND_IN in arguments[0]:
        primitive = arguments[0].split(STAND_IN)[1].split("_")[0]
        arguments = ()
    return Node(
        primitive,
        tuple(name for name, *_ in event["inputs"]),
        tuple(name for name, *_ in event["outputs"]),
        tuple(tuple(shape) for _, shape, _ in event["outputs"]),
        arguments,
    )


@contextmanager
def as_on_metal() -> Iterator[None]:
    """Within this context MLX's fused operations and compiled functions can be recorded as Metal would run them.

    The default device is said to be a GPU, for programs that ask. Modules that compile functions as they are imported
    must be imported within.
    """
    real = {name: getattr(mx.fast, name) for name in _FUSED}
    real_compile, real_device = mx.compile, mx.default_device
    for name, (primitive, inputs) in _FUSED.items():
        setattr(mx.fast, name, _fused(real[name], primitive, inputs))
    mx.compile = _compile
    mx.default_device = lambda: mx.Device(mx.gpu)
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(mx.fast, name, function)
        mx.compile, mx.default_device = real_compile, real_device


def _fused(real: Callable[..., mx.array], primitive: str, inputs: int) -> Callable[..., mx.array]:
    """`real`, and while a graph is recorded a stand-in that takes its first `inputs` arguments."""

    def function(*arguments: Any, **options: Any) -> mx.array:
        if not _recording:
            return real(*arguments, **options)
        return _stand_in(primitive, arguments[:inputs], arguments[0])

    return function


def _stand_in(primitive: str, inputs: Sequence[mx.array], like: mx.array) -> mx.array:
    kernel = _kernel(primitive, len(inputs))
    (result,) = kernel(
        inputs=list(inputs),
        grid=(1, 1, 1),
        threadgroup=(1, 1, 1),
        output_shapes=[like.shape],
        output_dtypes=[like.dtype],
    )
    return result


@cache
def _kernel(primitive: str, inputs: int) -> Callable[..., list[mx.array]]:
    names = [f"x{index}" for index in range(inputs)]
    return mx.fast.metal_kernel(
        name=STAND_IN + primitive, input_names=names, output_names=["y"], source="y[0] = x0[0];"
    )


_numbers = count()
_recording = False


def _compile(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """In place of mx.compile: the function as it is, between two marks that say which of its primitives are one."""
    if function is None:
        return lambda real: _compile(real, **options)

    def marked(*arguments: Any, **settings: Any) -> Any:
        if not _recording:
            return function(*arguments, **settings)
        number = next(_numbers)
        inside = [_mark(f"{COMPILED}{number}", a) if isinstance(a, mx.array) else a for a in arguments]
        results = function(*inside, **settings)
        if isinstance(results, mx.array):
            return _mark(f"{COMPILED_END}{number}", results)
        return type(results)(_mark(f"{COMPILED_END}{number}", result) for result in results)

    return marked


def _mark(name: str, array: mx.array) -> mx.array:
    return _stand_in(name, [array], array)
