"""Times the ways to compute one operation against each other on weights that no cache holds."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from metal.operation import Operation, Variant

Clock = Callable[[], float]
"""Seconds since some moment."""

ROUNDS = 5

_COLD_BYTES = 256 << 20
"""What a pass reads before it comes back to the same weights: more than any Apple chip's system-level cache (up to 96
MB), so that each run finds them in DRAM, as decoding does."""

_MOST_RUNS = 24
_MOST_ARGUMENT_BYTES = 64 << 20
"""Arguments held at once: a model may already fill most of the memory."""

_MAKING_S = 0.3


def cold_arguments(operation: Operation, clock: Clock = time.perf_counter) -> list[Sequence[Any]]:
    """Arguments for one pass of runs, two at least: as many as it takes to read other weights in each.

    Fewer where making them takes long or fills the memory.
    """
    runs = min(_MOST_RUNS, math.ceil(_COLD_BYTES / max(1, operation.weight_bytes)))
    start = clock()
    made: list[Sequence[Any]] = []
    nbytes = 0
    while len(made) < 2 or (len(made) < runs and nbytes < _MOST_ARGUMENT_BYTES and clock() - start < _MAKING_S):
        arguments = operation.arguments(len(made))
        arrays = [argument for argument in arguments if isinstance(argument, mx.array)]
        mx.eval(arrays)
        nbytes += sum(array.nbytes for array in arrays)
        made.append(arguments)
    return made


def seconds_per_run(
    operation: Operation,
    ways: Sequence[Variant | None],
    arguments: Sequence[Sequence[Any]],
    *,
    clock: Clock = time.perf_counter,
    budget_s: float = math.inf,
) -> dict[Variant | None, float]:
    """The least seconds one run took in each way (a variant of the kernel, or None for MLX's own operations).

    A pass runs one way on all `arguments`, each run waiting for the last, as decoding does. Passes alternate there and
    back (A B C C B A), so that what else the machine does meets all ways alike; there are ROUNDS such rounds, fewer
    once `budget_s` is used up. One pass of each way goes before, uncounted: clocks ramp up, kernels are compiled.
    """
    start = clock()
    for way in ways:
        _pass(operation, way, arguments)
    best = dict.fromkeys(ways, math.inf)
    for _ in range(ROUNDS):
        for way in (*ways, *reversed(ways)):
            pass_start = clock()
            _pass(operation, way, arguments)
            best[way] = min(best[way], (clock() - pass_start) / len(arguments))
        if clock() - start > budget_s:
            break
    return best


def _pass(operation: Operation, way: Variant | None, arguments: Sequence[Sequence[Any]]) -> None:
    results: list[mx.array] = []
    for each in arguments:
        results += operation.run(*_after(results, each), way)
    mx.eval(results)


def _after(results: list[mx.array], arguments: Sequence[Any]) -> Sequence[Any]:
    """The arguments, the first of which waits for the last result: the GPU must not run two of them side by side."""
    first, *rest = arguments
    if not results or not isinstance(first, mx.array) or not mx.issubdtype(first.dtype, mx.floating):
        return arguments
    return [first + 0 * results[-1].reshape(-1)[:1].astype(first.dtype), *rest]
