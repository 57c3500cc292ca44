"""Decides on this machine, once, whether each operation runs by its kernel, in which variant, or by MLX's operations.

A kernel is used only after it gave the right result here and was the faster way; what was found is remembered. Whatever
goes wrong with a kernel costs a line in the log, never an answer: the operation then runs by MLX's own operations.

A GPU that hangs can't be interrupted, and a driver that crashes ends the process. So a note is left
before each first try: a start that finds the note of a try that never ended keeps that operation to MLX's own.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import mlx.core as mx

from metal.operation import Operation, Variant
from metal.trust.check import Trial, first_line, named, run, tried, whole_text
from metal.trust.machine import MetalGpu, this_gpu
from metal.trust.remember import Note, Notes, begun, default_path, is_going_on, is_unended, kernel_text, tries
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

_MOST_TRIES = 2
"""Tries that never ended before an operation is never tried again: one may have been the user closing the program."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one operation runs: by the kernel's `variant`, or by MLX's own operations (None); and why, in words.

    `seconds` of one run by the way chosen and `portable_seconds` by MLX's operations are None where nothing was timed.
    `trials` has what came of each variant that was tried, `tolerance` the error they were allowed; `message` is the
    whole text of an error that is no variant's own.
    """

    operation: str
    variant: Variant | None
    reason: str
    seconds: float | None = None
    portable_seconds: float | None = None
    weight_bytes: int = 0
    tolerance: float | None = None
    trials: tuple[Trial, ...] = ()
    message: str | None = None

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
    trying: Callable[[int], None] = lambda index: None,
    rechecks: bool = False,
) -> KernelChoice:
    """How each operation is to run on this machine, found out now or remembered from an earlier start.

    `sizes` names what tells these operations from others of the same names: a model's sizes, its dtypes. `mode` is one
    of MODES, by default what GPTOSS_KERNELS says, `machine` the one this is, `path` the file that remembers. `trying`
    is told the place of each operation that is not remembered, before it is tried. With `rechecks` a remembered kernel
    that does not run now is tried anew: for when a decode step failed. Without a GPU everything runs by MLX's
    operations, and nothing is computed or read. Raises ValueError as `requested_mode`.
    """
    mode = requested_mode() if mode is None else mode
    machine = machine or this_gpu()
    if machine is None or mode == "portable":
        return KernelChoice([Verdict(operation.name, None, _without_kernels(mode)) for operation in operations])
    notes = Notes(path or default_path())
    subject = _SEPARATOR.join((*_setting(machine), f"{ENVIRONMENT}={mode}", sizes))
    budget_s = _TIMING_S / max(1, len(operations))
    verdicts = []
    for index, operation in enumerate(operations):
        starting = partial(trying, index)
        verdicts.append(_verdict(operation, notes, subject, mode, clock, budget_s, starting, rechecks=rechecks))
    return KernelChoice(verdicts)


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
    for subject, mine in Notes(path or default_path()).subjects().items():
        if subject.startswith(start):
            lines += [f"{subject.removeprefix(start)}:", *(f"  {_line(name, note)}" for name, note in mine.items())]
    return "\n".join(lines if len(lines) > 1 else [*lines, "nothing chosen yet: the first answer of a model does it"])


_SEPARATOR = "; "


def _setting(machine: MetalGpu) -> tuple[str, str]:
    return str(machine), f"kernels {kernel_text()}"


def _without_kernels(mode: str) -> str:
    return f"{ENVIRONMENT}={mode}" if mode == "portable" else "there is no Metal GPU here"


def _line(name: str, note: Note) -> str:
    return f"{name} runs by {note.get('runs', 'MLX')}: {note.get('reason', 'its kernel was not tried to the end')}"


def _verdict(
    operation: Operation,
    notes: Notes,
    subject: str,
    mode: str,
    clock: Clock,
    budget_s: float,
    starting: Callable[[], None],
    *,
    rechecks: bool,
) -> Verdict:
    """The verdict on one operation: remembered, or found out and noted; `starting` is called before the latter."""
    name = operation.name
    note = notes.read(subject, name)
    if is_unended(note):
        return _after_unended(operation, notes, subject, note)
    remembered = _from_json(operation, note)
    if remembered is not None and not (rechecks and _fails(operation, remembered.variant)):
        return remembered
    starting()
    notes.write(subject, name, begun(note))
    try:
        verdict = _tried(operation, mode, clock, budget_s)
    except BaseException:
        notes.write(subject, name, note)  # interrupted by the user, say: the kernel is not to blame
        raise
    notes.write(subject, name, _to_json(verdict))
    mx.clear_cache()
    return verdict


def _fails(operation: Operation, variant: Variant | None) -> bool:
    """Whether an operation can't be run now in the way that an earlier start chose. The step that failed ran it too."""
    try:
        run(operation, operation.arguments(0), variant)
    except Exception:  # of several types; what it says is noted by the try that follows
        return True
    return False


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
    return asdict(verdict) | {"runs": named(verdict.variant)}


def _from_json(operation: Operation, note: Note) -> Verdict | None:
    """A remembered verdict, None if the note is none or doesn't fit the operation."""
    times = (note.get("seconds"), note.get("portable_seconds"))
    reason, stored, message = note.get("reason"), note.get("variant"), note.get("message")
    chosen = next((v for v in operation.variants if [list(pair) for pair in v] == stored), None)
    if not isinstance(reason, str) or (stored is not None and chosen is None):
        return None
    if not all(time is None or isinstance(time, float) for time in times) or not isinstance(message, str | None):
        return None
    try:
        trials = tuple(map(Trial.from_json, note.get("trials", ())))
    except (TypeError, ValueError):
        return None
    bytes_read, tolerance = operation.weight_bytes, operation.tolerance
    return Verdict(operation.name, chosen, reason, *times, bytes_read, tolerance, trials, message)


def _tried(operation: Operation, mode: str, clock: Clock, budget_s: float) -> Verdict:
    """Runs the operation in every way, and judges."""
    verdict = Verdict(operation.name, None, "", None, None, operation.weight_bytes, operation.tolerance)
    try:
        arguments = cold_arguments(operation, clock)
        trials = tried(operation, arguments[:2], clock)
        verdict = replace(verdict, trials=tuple(trials))
        right = [trial.variant for trial in trials if trial.problem is None]
        if right:
            times = seconds_per_run(operation, [*right, None], arguments, clock=clock, budget_s=budget_s)
        problems = list(dict.fromkeys(trial.problem for trial in trials if trial.problem is not None))
    except Exception as error:  # whatever it is: an answer by MLX's operations is better than none
        right, problems = [], [first_line(error)]
        verdict = replace(verdict, message=whole_text(error))
    if problems:
        used = named(right[0] if right else None)
        log.warning("%s: %s; it runs by %s", operation.name, "; ".join(problems), used)
    if not right:
        return replace(verdict, reason="; ".join(problems))
    way = min(right if mode == "metal" else times, key=lambda way: times[way])
    if times[way] > (1 - _MARGIN) * times[right[0]]:
        way = right[0]
    trials = [replace(trial, seconds=times.get(trial.variant)) for trial in trials]
    verdict = replace(verdict, variant=way, seconds=times[way], portable_seconds=times[None], trials=tuple(trials))
    timed = ", ".join(f"{named(each)} {1e6 * seconds:.0f} us" for each, seconds in times.items())
    return replace(verdict, reason=f"{timed}; {verdict.gigabytes_s or 0:.0f} GB/s of weights")
