"""One launch as a process: its buffers in shared memory, its job on standard input, its report on standard output."""

import json
import mmap
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.msl.compiler import Mode, kernel_library, runner, source_line
from tests.msl.entry import Program

TIME_LIMIT = 300.0
"""Seconds after which a kernel is taken for one that doesn't end."""

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Job:
    """A program and how to launch it; as `run_kernel` describes it."""

    program: Program
    mode: Mode
    grid: tuple[int, int, int]
    threadgroup: tuple[int, int, int]
    lanes: str
    flush_denormals: bool
    misalign: Mapping[str, int]


def run_job(
    job: Job, inputs: Mapping[str, NDArray[Any]], outputs: Mapping[str, NDArray[Any]]
) -> tuple[list[str], dict[str, Any]]:
    """Fills `outputs`; returns the findings, and all that the runner printed, which is nothing if it died.

    `inputs` may hold more than the program has parameters.
    """
    library = kernel_library(job.program.text, job.mode)
    lines = [
        f"grid {' '.join(map(str, job.grid))}",
        f"threadgroup {' '.join(map(str, job.threadgroup))}",
        f"traced {int(job.mode == 'trace')}",
        f"lanes {job.lanes}",
        f"denormals {'flushed' if job.flush_denormals else 'kept'}",
    ]
    places = {}
    end = 0
    for name in job.program.buffers:
        array = outputs[name] if name in outputs else inputs[name]
        # Each buffer has a region of whole pages, with at least one of canaries on both sides.
        region, begin = end, end + _PAGE + job.misalign.get(name, 0)
        end = -(-(begin + array.nbytes) // _PAGE) * _PAGE + _PAGE
        direction = "output" if name in outputs else "input"
        lines.append(f"buffer {name} {direction} {region} {end - region} {begin} {array.nbytes} {array.itemsize}")
        places[name] = slice(begin, begin + array.nbytes)
    file = os.memfd_create("metal-bench")
    try:
        os.ftruncate(file, end)
        memory = np.frombuffer(mmap.mmap(file, end), np.uint8)
        for name, place in places.items():
            if name not in outputs:
                memory[place] = _bytes(inputs[name])
        findings, printed = _run(job.program, library, file, lines)
        for name, array in outputs.items():
            _bytes(array)[:] = memory[places[name]]
    finally:
        os.close(file)
    return findings, printed


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Of a contiguous array, the same memory."""
    return array.reshape(-1).view(np.uint8)


def _run(program: Program, library: Path, file: int, lines: list[str]) -> tuple[list[str], dict[str, Any]]:
    command = [str(runner()), str(library), str(file)]
    job = "\n".join(lines) + "\n"
    try:
        result = subprocess.run(
            command, input=job, capture_output=True, text=True, pass_fds=[file], timeout=TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"the kernel did not end within {TIME_LIMIT} s"], {}
    if result.returncode < 0:
        return [f"the kernel died of signal {-result.returncode}"], {}
    if result.returncode > 0:
        raise RuntimeError(f"the bench itself failed: {result.stderr.strip()}")
    printed = json.loads(result.stdout)
    return _described(printed["findings"], program, library), printed


def _described(findings: list[dict[str, Any]], program: Program, library: Path) -> list[str]:
    """The findings, with the lines of the kernel they stand in and how often each happened."""
    counts: dict[str, int] = {}
    for finding in findings:
        text = finding["text"]
        line = finding["line"] or (source_line(library, finding["code"]) if finding["code"] else None)
        if line and line <= len(program.lines):
            text += f" in line {line}: {program.lines[line - 1].strip()}"
        counts[text] = counts.get(text, 0) + finding["count"]
    return [f"{text} ({count} times)" if count > 1 else text for text, count in counts.items()]
