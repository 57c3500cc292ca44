"""Runs a call of the program on the CPU."""

from collections.abc import Mapping
from typing import Any, Literal

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from metal.launch import Call, Executor
from tests.msl.compiler import Mode, check_available
from tests.msl.entry import program
from tests.msl.job import Job, run_job
from tests.msl.report import Report, traffic_from_json
from tests.msl.source import generated_text


class KernelError(Exception):
    """A kernel run by `executor` has findings."""


def run_kernel(
    call: Call,
    mode: Mode = "fast",
    *,
    lanes: Literal["forward", "reversed"] = "forward",
    flush_denormals: bool = False,
    misalign: Mapping[str, int] | None = None,
    text: str | None = None,
) -> Report:
    """Runs a call. Outputs hold NaN (all bits set) where the kernel writes nothing.

    Modes: `fast` is optimised, with products and sums contracted to fma; `nofma` without; `trace` checks and counts
    each access to memory. `lanes` is the order in which lanes run between two meetings. `flush_denormals` makes
    subnormal floats zero, as Apple GPUs do. Buffers lie at multiples of 4096 bytes, those in `misalign` so many bytes
    further on. `text` replaces the text that MLX generates for the call.

    Raises CompileError if the compiler refuses the text, BenchUnavailable if this machine can't run kernels.
    """
    check_available()
    inputs = dict(zip(call.kernel.inputs, (_as_numpy(x) for x in call.inputs), strict=True))
    outputs = {
        name: np.empty(shape, _numpy_dtype(dtype))
        for name, shape, dtype in zip(call.kernel.outputs, call.output_shapes, call.output_dtypes, strict=True)
    }
    job = Job(
        program(text if text is not None else generated_text(call)),
        mode,
        call.grid,
        call.threadgroup,
        lanes,
        flush_denormals,
        misalign or {},
    )
    findings, printed = run_job(job, _shapes(inputs) | inputs, outputs)
    traffic = {name: traffic_from_json(values) for name, values in printed.get("traffic", {}).items()}
    return Report(
        outputs=[_as_mlx(outputs[n], d) for n, d in zip(call.kernel.outputs, call.output_dtypes, strict=True)],
        findings=findings,
        threadgroup_traffic=traffic.pop("threadgroup memory", None),
        traffic=traffic,
        **printed.get("counts", {"simd_operations": 0, "threadgroup_barriers": 0}),
    )


def executor(mode: Mode = "fast", **options: Any) -> Executor:
    """For `metal.launch.executed_by`: runs each call by `run_kernel`, and raises KernelError if it has findings."""

    def execute(call: Call) -> list[mx.array]:
        report = run_kernel(call, mode, **options)
        if report.findings:
            raise KernelError("\n".join([f"{call.kernel.name}:", *report.findings]))
        return report.outputs

    return execute


def _shapes(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What MLX hands to a kernel whose text asks for it."""
    found: dict[str, NDArray[Any]] = {}
    for name, x in inputs.items():
        found[f"{name}_shape"] = np.array(x.shape, np.int32)
        found[f"{name}_strides"] = np.array(x.strides, np.int64) // x.itemsize
        found[f"{name}_ndim"] = np.array(x.ndim, np.int32)
    return found


def _as_numpy(x: mx.array) -> NDArray[Any]:
    """Row-contiguous, as MLX hands it to a kernel; bfloat16 as uint16."""
    known = x.view(mx.uint16) if x.dtype == mx.bfloat16 else x
    return np.ascontiguousarray(np.array(known, copy=False)).reshape(x.shape)


def _numpy_dtype(dtype: mx.Dtype) -> np.dtype[Any]:
    return _as_numpy(mx.zeros((1,), dtype)).dtype


def _as_mlx(array: NDArray[Any], dtype: mx.Dtype) -> mx.array:
    x = mx.array(array)
    return x.view(mx.bfloat16) if dtype == mx.bfloat16 else x
