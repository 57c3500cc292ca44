"""Compares what the variants of a kernel compute with the operation's definition, and keeps what a developer needs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx
import numpy as np

from metal.operation import Operation, Variant
from metal.trust.timing import Clock

_LONGEST_RUN_S = 10.0
"""A first run, compilation included, that takes longer than this is a sign of a GPU in trouble."""

_LONGEST_MESSAGE = 4000
"""Characters that are kept of an error: a compiler's first complaints, and the lines of text that it means."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """The first element of a result that is not as the definition has it, and how many there are.

    `result` counts the results of an operation, `index` is its place there; `arguments` is the seed of what it was
    computed from. Values are texts, which have NaN too.
    """

    arguments: int
    result: int
    index: tuple[int, ...]
    expected: str
    found: str
    wrong: int
    elements: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one variant of a kernel.

    `problem` is one line, None for a variant that is right; `message` is the whole text of an error, cut where it is
    long. `error` is the greatest one, as a share of the largest value, None where nothing could be compared. `seconds`
    is what a run took, None where nothing was timed.
    """

    variant: Variant
    problem: str | None = None
    message: str | None = None
    wrong: Wrong | None = None
    error: float | None = None
    seconds: float | None = None

    @staticmethod
    def from_json(value: Any) -> "Trial":
        """Of what `dataclasses.asdict` gives, as JSON keeps it. Raises ValueError for anything else."""
        try:
            wrong = value["wrong"]
            trial = Trial(
                **value
                | {"variant": tuple((str(name), int(number)) for name, number in value["variant"])}
                | {"wrong": None if wrong is None else Wrong(**wrong | {"index": tuple(map(int, wrong["index"]))})}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("it is no trial") from error
        figures, texts = (trial.error, trial.seconds), (trial.problem, trial.message)
        if not all(isinstance(each, float | None) for each in figures):
            raise ValueError("it is no trial")
        if not all(isinstance(each, str | None) for each in texts):
            raise ValueError("it is no trial")
        return trial


def tried(operation: Operation, arguments: Sequence[Sequence[Any]], clock: Clock) -> list[Trial]:
    """Each variant on all `arguments`: right if it agrees with MLX's operations, and in every bit with the first that
    does. None is tried after one that took too long."""
    expected = [run(operation, each, None) for each in arguments]
    right: Trial | None = None
    bits: list[list[np.ndarray]] = []
    trials: list[Trial] = []
    for variant in operation.variants:
        run_start = clock()
        try:
            found = [run(operation, each, variant) for each in arguments]
        except Exception as error:  # a compiler's complaint, a limit of the GPU: MLX has several types for them
            trials.append(Trial(variant, first_line(error), whole_text(error)))
            continue
        if (took := clock() - run_start) > _LONGEST_RUN_S:
            trials.append(Trial(variant, f"{named(variant)} took {took:.0f} s for a run"))
            break
        trial = compared(variant, found, expected, operation)
        numbers = [list(map(_numbers, results)) for results in found]
        if trial.problem is None and right is not None:
            trial = _same_bits(trial, numbers, right, bits)
        elif trial.problem is None:
            right, bits = trial, numbers
        trials.append(trial)
    return trials


def compared(
    variant: Variant,
    found: Sequence[Sequence[mx.array]],
    expected: Sequence[Sequence[mx.array]],
    operation: Operation,
) -> Trial:
    """A variant's results beside those of the definition, for each of the arguments."""
    error = 0.0
    for seed, (results, definition) in enumerate(zip(found, expected, strict=True)):
        if [(a.shape, a.dtype) for a in results] != [(a.shape, a.dtype) for a in definition]:
            shapes = (", ".join(f"{a.dtype} {list(a.shape)}" for a in arrays) for arrays in (results, definition))
            message = "results are {}; they should be {}".format(*shapes)
            return Trial(variant, f"{named(variant)} gives results of other shapes or dtypes", message)
        for place, (a, b) in enumerate(zip(map(_numbers, results), map(_numbers, definition), strict=True)):
            problem, off, share = _disagreement(a, b, operation.tolerance)
            if problem is not None:
                wrong = _first(off, a, b, seed, place)
                return Trial(variant, f"{named(variant)} {problem}", wrong=wrong, error=share)
            error = max(error, share or 0.0)
    return Trial(variant, error=error)


def _disagreement(
    found: np.ndarray, expected: np.ndarray, tolerance: float
) -> tuple[str | None, np.ndarray, float | None]:
    """What is wrong with one result, in words, and at which elements; its greatest error as a share of the largest
    value, None where that means nothing."""
    if not np.issubdtype(expected.dtype, np.floating):
        off = found != expected
        return ("gives other whole numbers" if off.any() else None), off, None
    if not (finite := np.isfinite(found)).all():
        return "gives NaN or infinity", ~finite, None
    errors = np.abs(found.astype(np.float64) - expected)
    largest = float(np.abs(expected).max(initial=0))
    share = float(errors.max(initial=0)) / (largest or 1)
    off = ~(errors <= tolerance * largest)  # not `errors > ...`, which is false for NaN
    problem = f"is off by {share:.1e} of the largest value, {tolerance:.1e} allowed" if off.any() else None
    return problem, off, share if np.isfinite(share) else None


def _same_bits(
    trial: Trial, numbers: Sequence[Sequence[np.ndarray]], right: Trial, bits: Sequence[Sequence[np.ndarray]]
) -> Trial:
    """A trial that agrees with the definition, wrong nevertheless if it differs in a bit from one that does, too."""
    for seed, (results, others) in enumerate(zip(numbers, bits, strict=True)):
        for place, (a, b) in enumerate(zip(results, others, strict=True)):
            if a.tobytes() != b.tobytes():
                off = a.view(f"u{a.itemsize}") != b.view(f"u{b.itemsize}")
                problem = f"{named(trial.variant)} gives other bits than {named(right.variant)}"
                return replace(trial, problem=problem, wrong=_first(off, a, b, seed, place))
    return trial


def _first(off: np.ndarray, found: np.ndarray, expected: np.ndarray, seed: int, place: int) -> Wrong:
    index = np.unravel_index(int(np.argmax(off)), off.shape)
    return Wrong(
        arguments=seed,
        result=place,
        index=tuple(map(int, index)),
        expected=_exact(expected[index]),
        found=_exact(found[index]),
        wrong=int(off.sum()),
        elements=off.size,
    )


def _exact(value: Any) -> str:
    """With as many digits as tell float32 numbers apart."""
    return f"{value:.9g}" if isinstance(value, np.floating) else str(value)


def run(operation: Operation, arguments: Sequence[Any], way: Variant | None) -> tuple[mx.array, ...]:
    """What an operation gives by a variant of its kernel or, None, by MLX's operations, computed."""
    results = operation.run(*arguments, way)
    mx.eval(results)
    return results


def _numbers(array: mx.array) -> np.ndarray:
    """The array for NumPy, which has no bfloat16: that becomes float32, which loses nothing."""
    return np.array(array.astype(mx.float32) if array.dtype == mx.bfloat16 else array)


def named(variant: Variant | None) -> str:
    """A variant for a person, as in "kernel ROWS=4 SIMDGROUPS=2"."""
    return "MLX" if variant is None else " ".join(["kernel", *(f"{name}={value}" for name, value in variant)])


def first_line(error: Exception) -> str:
    """An error in one line, with its type."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def whole_text(error: Exception) -> str:
    """All that an error says, cut where it is very long."""
    text = str(error).strip()
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} [{len(text):,} characters in all]"
