"""Decides on this machine, once, whether each operation runs by its kernel, in which variant, or by MLX's operations.

A kernel is used only after it gave the right result here and was the faster way; what was found is remembered. Whatever
goes wrong with a kernel costs a line in the log, never an answer: the operation then runs by MLX's own operations.

A GPU that hangs can't be interrupted, and a driver that crashes ends the process. So a note is left
before each first try: a start that finds the note of a try that never ended keeps that operation to MLX's own.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from metal.operation import Operation, Variant
from metal.trust.machine import MetalGpu, this_gpu
from metal.trust.remember import Note, Notes, default_path, is_going_on, is_unended, kernel_text, tries, trying
from metal.trust.timing import Clock, cold_arguments, seconds_per_run

log = logging.getLogger(__name__)

ENVIRONMENT = "GPTOSS_KERNELS"
"""The variable that forces a choice: "auto" (the default), "metal" (kernels wherever they are right, however slow),
"portable" (MLX's operations alone)."""

MODES = ("auto", "metal", "portable")

_MARGIN = 0.03
"""Share of its time by which a way must beat the default to be taken in its place: less is noise."""

_TIMING_S = 1.0
"""Spent on timing all operations together, about."""

_LONGEST_RUN_S = 10.0
"""A first run, compilation included, that takes longer than this is a sign of a GPU in trouble."""

_MOST_TRIES = 2
"""Tries that never ended before an operation is never tried again: one may have been the user closing the program."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one operation runs: by the kernel's `variant`, or by MLX's own operations (None); and why, in words.

    `seconds` of one run by the way chosen and `portable_seconds` by MLX's operations are None where nothing was timed.
    """

    operation: str
    variant: Variant | None
    reason: str
    seconds: float | None = None
    portable_seconds: float | None = None
    weight_bytes: int = 0

    @property
    def gigabytes_s(self) -> float | None:
        """Weights read a second, in 10^9 bytes; None where nothing was timed."""
        return self.weight_bytes / self.seconds / 1e9 if self.seconds else None


class KernelChoice(Mapping[str, Variant | None]):
    """By name of the operation: the variant its kernel is to run in, None for MLX's own operations."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        self.verdicts = tuple(verdicts)
        self._variants = {verdict.operation: verdict.variant for verdict in verdicts}

    def __getitem__(self, operation: str) -> Variant | None:
        return self._variants[operation]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variants)

    def __len__(self) -> int:
        return len(self._variants)


def requested_mode(environment: Mapping[str, str] = os.environ) -> str:
    """What GPTOSS_KERNELS asks for. Raises ValueError, fit for a person to read, if it is none of MODES."""
    mode = environment.get(ENVIRONMENT) or "auto"
    if mode not in MODES:
        raise ValueError(f"{ENVIRONMENT} is {mode!r}; it can be {', '.join(MODES[:-1])} or {MODES[-1]}")
    return mode


def choose(
    operations: Sequence[Operation],
    *,
    sizes: str = "",
    mode: str | None = None,
    machine: MetalGpu | None = None,
    path: Path | None = None,
    clock: Clock = time.perf_counter,
) -> KernelChoice:
    """How each operation is to run on this machine, found out now or remembered from an earlier start.

    `sizes` names what tells these operations from others of the same names: a model's sizes, its dtypes. `mode` is one
    of MODES, by default what GPTOSS_KERNELS says, `machine` the one this is, `path` the file that remembers. Without
    a GPU everything runs by MLX's operations, and nothing is computed or read. Raises ValueError as `requested_mode`.
    """
    mode = requested_mode() if mode is None else mode
    machine = machine or this_gpu()
    if machine is None or mode == "portable":
        return KernelChoice([Verdict(operation.name, None, _without_kernels(mode)) for operation in operations])
    notes = Notes(path or default_path())
    subject = _SEPARATOR.join((*_setting(machine), f"{ENVIRONMENT}={mode}", sizes))
    budget_s = _TIMING_S / max(1, len(operations))
    return KernelChoice([_verdict(operation, notes, subject, mode, clock, budget_s) for operation in operations])


def report(*, mode: str | None = None, machine: MetalGpu | None = None, path: Path | None = None) -> str:
    """What is remembered of this machine, as a text of some lines for a person. Raises ValueError as `requested_mode`.

    Names and reasons come from a file: clean the text before it goes to a terminal.
    """
    mode = requested_mode() if mode is None else mode
    machine = machine or this_gpu()
    if machine is None or mode == "portable":
        return f"MLX's own operations throughout: {_without_kernels(mode)}"
    lines = [f"{machine}, {ENVIRONMENT}={mode}"]
    start = _SEPARATOR.join((*_setting(machine), f"{ENVIRONMENT}={mode}", ""))
    for subject, named in Notes(path or default_path()).subjects().items():
        if subject.startswith(start):
            lines += [f"{subject.removeprefix(start)}:", *(f"  {_line(name, note)}" for name, note in named.items())]
    return "\n".join(lines if len(lines) > 1 else [*lines, "nothing chosen yet: the first answer of a model does it"])


_SEPARATOR = "; "


def _setting(machine: MetalGpu) -> tuple[str, str]:
    return str(machine), f"kernels {kernel_text()}"


def _without_kernels(mode: str) -> str:
    return f"{ENVIRONMENT}={mode}" if mode == "portable" else "there is no Metal GPU here"


def _line(name: str, note: Note) -> str:
    return f"{name} runs by {note.get('runs', 'MLX')}: {note.get('reason', 'its kernel was not tried to the end')}"


def _named(variant: Variant | None) -> str:
    """A variant for a person, as in "kernel ROWS=4 SIMDGROUPS=2"."""
    return "MLX" if variant is None else " ".join(["kernel", *(f"{name}={value}" for name, value in variant)])


def _verdict(operation: Operation, notes: Notes, subject: str, mode: str, clock: Clock, budget_s: float) -> Verdict:
    """The verdict on one operation: remembered, or found out and noted."""
    name = operation.name
    note = notes.read(subject, name)
    if is_unended(note):
        return _after_unended(operation, notes, subject, note)
    remembered = _from_json(operation, note)
    if remembered is not None:
        return remembered
    notes.write(subject, name, trying(note))
    try:
        verdict = _tried(operation, mode, clock, budget_s)
    except BaseException:
        notes.write(subject, name, note)  # interrupted by the user, say: the kernel is not to blame
        raise
    notes.write(subject, name, _to_json(verdict))
    mx.clear_cache()
    return verdict


def _after_unended(operation: Operation, notes: Notes, subject: str, note: Note) -> Verdict:
    """What to do where a try of the kernel has not ended."""
    if is_going_on(note):
        return Verdict(operation.name, None, f"process {note['by']} is trying the kernel just now")
    verdict = Verdict(
        operation.name,
        None,
        "the try of its kernel never ended: the program was closed meanwhile, or the GPU hung or crashed",
    )
    is_last = tries(note) >= _MOST_TRIES
    notes.write(subject, operation.name, _to_json(verdict) if is_last else {"tries": tries(note)})
    again = f"to try again, delete {notes.path}" if is_last else "the next start tries once more"
    log.warning("%s runs by MLX's own operations: %s; %s", operation.name, verdict.reason, again)
    return verdict


def _to_json(verdict: Verdict) -> Note:
    return asdict(verdict) | {"runs": _named(verdict.variant)}


def _from_json(operation: Operation, note: Note) -> Verdict | None:
    """A remembered verdict, None if the note is none or doesn't fit the operation."""
    times = (note.get("seconds"), note.get("portable_seconds"))
    reason, stored = note.get("reason"), note.get("variant")
    chosen = next((v for v in operation.variants if [list(pair) for pair in v] == stored), None)
    if not isinstance(reason, str) or (stored is not None and chosen is None):
        return None
    if not all(time is None or isinstance(time, float) for time in times):
        return None
    return Verdict(operation.name, chosen, reason, *times, operation.weight_bytes)


def _tried(operation: Operation, mode: str, clock: Clock, budget_s: float) -> Verdict:
    """Runs the operation in every way, and judges."""
    try:
        arguments = cold_arguments(operation, clock)
        right, problems = _checked(operation, arguments[:2], clock)
        if right:
            times = seconds_per_run(operation, [*right, None], arguments, clock=clock, budget_s=budget_s)
    except Exception as error:  # whatever it is: an answer by MLX's operations is better than none
        right, problems = [], [_first_line(error)]
    if problems:
        used = _named(right[0] if right else None)
        log.warning("%s: %s; it runs by %s", operation.name, "; ".join(problems), used)
    if not right:
        return Verdict(operation.name, None, "; ".join(problems))
    way = min(right if mode == "metal" else times, key=lambda way: times[way])
    if times[way] > (1 - _MARGIN) * times[right[0]]:
        way = right[0]
    timed = ", ".join(f"{_named(each)} {1e6 * seconds:.0f} us" for each, seconds in times.items())
    verdict = Verdict(operation.name, way, timed, times[way], times[None], operation.weight_bytes)
    return replace(verdict, reason=f"{timed}; {verdict.gigabytes_s or 0:.0f} GB/s of weights")


def _checked(operation: Operation, arguments: Sequence[Sequence[Any]], clock: Clock) -> tuple[list[Variant], list[str]]:
    """The variants that agree with MLX's operations and with each other in every bit, and what is wrong with others."""
    expected = [_run(operation, each, None) for each in arguments]
    right: list[Variant] = []
    problems: dict[str, None] = {}  # in order, each once
    bits: list[bytes] = []
    for variant in operation.variants:
        run_start = clock()
        try:
            found = [_run(operation, each, variant) for each in arguments]
        except Exception as error:  # a compiler's complaint, a limit of the GPU: MLX has several types for them
            problems[_first_line(error)] = None
            continue
        if (took := clock() - run_start) > _LONGEST_RUN_S:
            problems[f"{_named(variant)} took {took:.0f} s for a run"] = None
            break
        wrong = [text for f, e in zip(found, expected, strict=True) if (text := disagreement(f, e, operation))]
        seen = [_numbers(array).tobytes() for arrays in found for array in arrays]
        if wrong:
            problems[f"{_named(variant)} {wrong[0]}"] = None
        elif right and seen != bits:
            problems[f"{_named(variant)} gives other bits than {_named(right[0])}"] = None
        else:
            right.append(variant)
            bits = seen
    return right, list(problems)


def _run(operation: Operation, arguments: Sequence[Any], way: Variant | None) -> tuple[mx.array, ...]:
    results = operation.run(*arguments, way)
    mx.eval(results)
    return results


def _numbers(array: mx.array) -> np.ndarray:
    """The array for NumPy, which has no bfloat16: that becomes float32, which loses nothing."""
    return np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)


def disagreement(found: Sequence[mx.array], expected: Sequence[mx.array], operation: Operation) -> str | None:
    """What is wrong with the results of a kernel, in words; None if they agree within the operation's tolerance."""
    if [(a.shape, a.dtype) for a in found] != [(a.shape, a.dtype) for a in expected]:
        return "gives results of other shapes or dtypes"
    for a, b in zip(map(_numbers, found), map(_numbers, expected), strict=True):
        if not np.issubdtype(b.dtype, np.floating):
            if not np.array_equal(a, b):
                return "gives other whole numbers"
        elif not np.isfinite(a).all():
            return "gives NaN or infinity"
        else:
            error = float(np.abs(a.astype(np.float64) - b).max(initial=0))
            largest = float(np.abs(b).max(initial=0))
            if not error <= operation.tolerance * largest:
                return f"is off by {error / (largest or 1):.1e} of the largest value, {operation.tolerance:.1e} allowed"
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"
