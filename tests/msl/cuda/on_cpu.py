"""The cases on the CPU bench, as CUDA text: is the shim right? Everything is tried but its primitives for a GPU."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.msl.cuda.arrays import STORED
from tests.msl.cuda.judge import Stored
from tests.msl.cuda.manifest import ENTRY, Case
from tests.msl.cuda.nvrtc import SHIM
from tests.msl.cuda.recorded import Text
from tests.msl.entry import Program
from tests.msl.job import Job, run_job


class OnCpu:
    """A backend of `judge`."""

    def __init__(self, texts: Mapping[str, Text], shim: str | None = None) -> None:
        self._texts, self._shim = texts, shim or whole_shim()

    def run(self, case: Case, inputs: Stored, step: int) -> Stored:
        """See Backend. Raises RuntimeError if the bench finds something."""
        held: dict[str, NDArray[Any]] = dict(inputs)
        for name, array in case.arrays.items():
            if array.role != "input":
                held[name] = np.empty(array.shape, STORED[array.dtype])
        written: set[str] = set()
        for launch in case.launches:
            code = program(self._texts[launch.text], self._shim)
            by_buffer = dict(zip(code.buffers, launch.arguments, strict=True))
            outputs = {b: held[n] for b, n in by_buffer.items() if n not in inputs and n not in written}
            x, y, z = (count * size for count, size in zip(launch.blocks, launch.threads, strict=True))
            misaligned = {buffer: case.arrays[name].offset for buffer, name in by_buffer.items()}
            job = Job(code, "fast", (x, y, z), launch.threads, "forward", True, misaligned)
            findings, _ = run_job(job, {b: held[n] for b, n in by_buffer.items() if b not in outputs}, outputs)
            if findings:
                raise RuntimeError("; ".join(findings))
            written |= {name for buffer, name in by_buffer.items() if buffer in outputs}
        return {name: held[name] for name, array in case.arrays.items() if array.role == "output"}


def whole_shim() -> str:
    """The shim with the primitives of the bench, as one text."""

    def included(name: str) -> str:
        text = (SHIM / name).read_text().replace("#pragma once", "")
        return re.sub(r'#include "(\w+\.h)"', lambda match: included(_FILES.get(match[1], match[1])), text)

    return included("msl_cuda.h")


_FILES = {"primitives.h": "primitives_cpu.h"}


def program(text: Text, shim: str) -> Program:
    """A text as the bench takes it."""
    passed = ", ".join(f"buffers[{i}]" for i in range(len(text.buffers)))
    code = text.cuda.replace('#include "msl_cuda.h"', shim)
    code = re.sub(rf'extern "C" __global__ void __launch_bounds__\(\d+\) {ENTRY}', "static void cuda_entry", code)
    entry = f'extern "C" void msl_entry(void** buffers) {{ cuda_entry({passed}); }}\n'
    return Program(code + entry, text.buffers, tuple(text.metal.splitlines()))
