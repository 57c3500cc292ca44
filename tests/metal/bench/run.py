"""Runs a call of the program on the CPU, in a process of its own."""

import json
import mmap
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import mlx.core as mx
import numpy as np

from metal.launch import Call, Executor
from tests.metal.bench.compiler import Mode, kernel_library, runner, source_line
from tests.metal.bench.entry import Program, program
from tests.metal.bench.report import Report, traffic_from_json
from tests.metal.bench.source import generated_text

_PAGE = 4096
TIME_LIMIT = 300  # seconds; for a kernel that doesn't end


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
    code = program(text if text is not None else generated_text(call))
    buffers = dict(zip(call.kernel.inputs, (_as_numpy(x) for x in call.inputs), strict=True))
    for name, x in list(buffers.items()):
        buffers.setdefault(f"{name}_shape", np.array(x.shape, np.int32))
        buffers.setdefault(f"{name}_strides", np.array(x.strides, np.int64) // x.itemsize)
        buffers.setdefault(f"{name}_ndim", np.array(x.ndim, np.int32))
    outputs = {
        name: np.empty(shape, _numpy_dtype(dtype))
        for name, shape, dtype in zip(call.kernel.outputs, call.output_shapes, call.output_dtypes, strict=True)
    }
    findings, printed = run_program(
        code, mode, buffers, outputs, call.grid, call.threadgroup, lanes, flush_denormals, misalign or {}
    )
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


def run_program(
    code: Program,
    mode: Mode,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    grid: tuple[int, int, int],
    threadgroup: tuple[int, int, int],
    lanes: str,
    flush_denormals: bool,
    misalign: Mapping[str, int],
) -> tuple[list[str], dict[str, Any]]:
    """Runs a program, fills `outputs`, and gives the findings and what the runner printed (nothing if it died)."""
    library = kernel_library(code.text, mode)
    job = [
        f"grid {' '.join(map(str, grid))}",
        f"threadgroup {' '.join(map(str, threadgroup))}",
        f"traced {int(mode == 'trace')}",
        f"lanes {lanes}",
        f"denormals {'flushed' if flush_denormals else 'kept'}",
    ]
    end = 0
    places = {}
    for name in code.buffers:
        array = outputs[name] if name in outputs else inputs[name]
        # A page and more of canaries on both sides.
        begin = end + _PAGE + misalign.get(name, 0)
        region_end = -(-(begin + array.nbytes) // _PAGE + -1) * _PAGE
        direction = "output" if name in outputs else "input"
        job.append(
            f"buffer {name} {direction} {end} {region_end - end} {begin} {array.nbytes} {max(1, array.itemsize)}"
        )
        places[name] = slice(begin, begin + array.nbytes)
        end = region_end
    file = os.memfd_create("metal-bench")
    try:
        os.ftruncate(file, end)
        view = np.frombuffer(mmap.mmap(file, end), np.uint8)
        for name, place in places.items():
            if name not in outputs:
                view[place] = np.ascontiguousarray(inputs[name]).reshape(-1).view(np.uint8)
        findings, printed = _run_job(code, library, file, job)
        for name, array in outputs.items():
            array.reshape(-1).view(np.uint8)[:] = view[places[name]]
    finally:
        os.close(file)
    return findings, printed


def _run_job(code: Program, library: Path, file: int, job: list[str]) -> tuple[list[str], dict[str, Any]]:
    command = [str(runner()), str(library), str(file)]
    try:
        result = subprocess.run(
            command,
            input="\n".join(job) + "\n",
            capture_output=True,
            text=True,
            pass_fds=[file],
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"the kernel did not end within {TIME_LIMIT} s"], {}
    if result.returncode < 0:
        return [f"the kernel died of signal {-result.returncode}"], {}
    if result.returncode > 0:
        raise RuntimeError(f"the bench itself failed: {result.stderr.strip()}")
    printed = json.loads(result.stdout)
    return _described(printed["findings"], code, library), printed


def _described(findings: list[dict[str, Any]], code: Program, library: Path) -> list[str]:
    """The findings, with the lines of the kernel they stand in and how often each happened."""
    counts: dict[str, int] = {}
    for finding in findings:
        text = finding["text"]
        line = finding["line"] or (source_line(library, finding["code"]) if finding["code"] else None)
        if line and line <= len(code.lines):
            text += f" in line {line}: {code.lines[line - 1].strip()}"
        counts[text] = counts.get(text, 0) + finding["count"]
    return [f"{text} ({count} times)" if count > 1 else text for text, count in counts.items()]


def _as_numpy(x: mx.array) -> np.ndarray:
    """Row-contiguous, as MLX hands it to a kernel; bfloat16 as uint16."""
    known = x.view(mx.uint16) if x.dtype == mx.bfloat16 else x
    return np.ascontiguousarray(np.array(known, copy=False)).reshape(x.shape)


def _numpy_dtype(dtype: mx.Dtype) -> np.dtype:
    return _as_numpy(mx.zeros((1,), dtype)).dtype


def _as_mlx(array: np.ndarray, dtype: mx.Dtype) -> mx.array:
    x = mx.array(array)
    return x.view(mx.bfloat16) if dtype == mx.bfloat16 else x
