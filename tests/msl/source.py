"""The text that MLX generates for a call: on Linux it compiles none, but prints it when the call is traced."""

import os
import re
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import mlx.core as mx

from metal.launch import Call, Kernel, Parameters, run_with_mlx

# MLX puts an input of fewer elements into the constant address space.
_CONSTANT_BELOW = 8


def generated_text(call: Call) -> str:
    """The whole text that a Mac's Metal compiler would get for `call`, as MLX prints it."""
    inputs = tuple((x.shape if x.size < _CONSTANT_BELOW else (8,) * x.ndim, x.dtype) for x in call.inputs)
    return _generated_text(
        call.kernel, inputs, call.parameters, tuple(len(s) for s in call.output_shapes), call.output_dtypes
    )


@lru_cache(maxsize=256)
def _generated_text(
    kernel: Kernel,
    inputs: tuple[tuple[tuple[int, ...], mx.Dtype], ...],
    parameters: Parameters,
    output_ranks: tuple[int, ...],
    output_dtypes: tuple[mx.Dtype, ...],
) -> str:
    """The text depends on no more than this: dtypes, ranks, and whether an input is small."""
    arrays = [mx.zeros(shape, dtype) for shape, dtype in inputs]

    def traced(*arrays: mx.array) -> list[mx.array]:
        shapes = tuple((1,) * rank for rank in output_ranks)
        call = Call(kernel, arrays, parameters, (1, 1, 1), (1, 1, 1), shapes, output_dtypes)
        return run_with_mlx(call, verbose=True)

    printed = _printed_while_exporting(traced, arrays)
    match = re.search(r"```\n(.*)\n```", printed, re.S)
    if match is None:
        raise RuntimeError(f"MLX printed no text for the kernel {kernel.name}: {printed[:200]!r}")
    return match.group(1)


def _printed_while_exporting(function: Callable[..., list[mx.array]], arrays: list[mx.array]) -> str:
    """What MLX writes to the standard output of the process, from C++, while `function` is traced."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as folder:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(output.fileno(), 1)
        try:
            mx.export_function(str(Path(folder) / "traced.mlxfn"), function, *arrays)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        output.seek(0)
        return output.read().decode("ascii")
