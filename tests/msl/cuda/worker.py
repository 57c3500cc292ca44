"""The process that runs cases on the GPU: one JSON line for each thing that happens."""

import json
import math
import time
import traceback
from collections.abc import Sequence
from typing import Any

from tests.msl.cuda.driver import CudaError, Gpu
from tests.msl.cuda.dump import CEILINGS, Dump
from tests.msl.cuda.gpu import OnGpu
from tests.msl.cuda.judge import Judge, comparable
from tests.msl.cuda.manifest import Case
from tests.msl.cuda.results import Result, bytes_moved

BROKEN = 3
"""The exit code after a failure of a kernel, behind which nothing more can run in this process."""


def work(dump: Dump, cases: Sequence[Case], *, first: int, timed: bool, seconds: float) -> int:
    """Runs the cases from number `first` on; none begins after so many seconds. Returns an exit code.

    Lines: {"gpu": facts and ceilings}, {"begins": number}, {"result": a Result's fields}. Untimed, each array is an
    allocation of its own, for compute-sanitizer. Raises NoGpuError.
    """
    began = time.monotonic()
    gpu, judge = Gpu(), Judge()
    backend = OnGpu(gpu, dump.code, exact_size=not timed)
    facts: dict[str, Any] = {"name": gpu.name, "architecture": gpu.architecture, "driver": gpu.driver}
    if gpu.architecture != dump.facts["architecture"]:
        wanted = f"make kernels-cuda ARCHITECTURE={gpu.architecture}"
        _say(refused=f"the code is for {dump.facts['architecture']} and this GPU is {gpu.architecture}: {wanted}")
        return 1
    _say(gpu=facts | {"ceilings": backend.ceilings(dump.code(CEILINGS)) if timed else {}})
    for number in range(first, len(cases)):
        if time.monotonic() - began > seconds:
            break
        case = cases[number]
        _say(begins=number)
        result: dict[str, Any] = {"group": case.group, "name": case.name, "side": case.side}
        try:
            worst, bits = judge.judged(backend, case)
            result |= {"worst": worst, "variants": comparable(case), "bits": bits}
            if timed:
                us = backend.seconds(case) * 1e6
                result |= {"us": us, "gbps": bytes_moved(case) / us / 1e3}
        except CudaError as error:
            _say(result=Result(**result, error=f"{error}").as_json())
            return BROKEN
        except Exception as error:  # one case must not end the run
            _say(trace=traceback.format_exc())
            result["error"] = f"{type(error).__name__}: {error}"
        if math.isinf(result.get("worst", 0)):
            result |= {"worst": None, "error": "not a number, or not written: WRONG"}
        _say(result=Result(**result).as_json())
    return 0


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)
