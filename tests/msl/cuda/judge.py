"""Runs a case somewhere and says how far it is from float64, and which bits it gave."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tests.msl.cuda.arrays import exact, made
from tests.msl.cuda.manifest import Array, Case
from tests.msl.cuda.reference import FROM_RESULTS, OPERATIONS, Inputs

_ROUNDING = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 0.0}
_NOISE = 2e-5
"""Error allowed, of the largest expected value, beside rounding to the output's type: of float32 sums and of exp."""

Stored = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """What runs the launches of a case."""

    def run(self, case: Case, inputs: Stored, step: int) -> Stored:
        """The outputs, NaN (all bits set) where nothing was written; the inputs are set number `step`."""


def sets(case: Case) -> int:
    """How many different inputs a case has."""
    return max(array.sets for array in case.arrays.values())


class Judge:
    """Keeps inputs and what is expected of them while cases on the same arrays follow each other."""

    def __init__(self) -> None:
        self._made: dict[str, NDArray[Any]] = {}
        self._expected: tuple[str, dict[int, dict[str, NDArray[np.float64]]]] = ("", {})

    def inputs(self, case: Case, step: int) -> Stored:
        """Set number `step`."""
        wanted = {name: array for name, array in case.arrays.items() if array.role == "input"}
        steps = {name: step if array.sets > 1 else 0 for name, array in wanted.items()}
        keys = {name: _recipe(array, steps[name]) for name, array in wanted.items()}
        self._made = {key: array for key, array in self._made.items() if key in keys.values()}
        for name, array in wanted.items():
            if keys[name] not in self._made:
                self._made[keys[name]] = made(array, steps[name])
        return {name: self._made[keys[name]] for name in wanted}

    def judged(self, backend: Backend, case: Case) -> tuple[float, str]:
        """The worst error as a share of what is allowed (right if at most 1), and a hash of the outputs' bits."""
        worst, bits = 0.0, hashlib.sha256()
        for step in sorted({0, sets(case) - 1}):
            inputs = self.inputs(case, step)
            outputs = backend.run(case, inputs, step)
            found = {name: exact(array, case.arrays[name].dtype) for name, array in outputs.items()}
            expected = self._expected_of(case, inputs, step, found)
            worst = max(worst, *(_worst(case, name, found[name], values) for name, values in expected.items()))
            for name in sorted(outputs):
                bits.update(outputs[name].tobytes())
        return worst, bits.hexdigest()[:16]

    def _expected_of(
        self, case: Case, inputs: Stored, step: int, found: dict[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        key = comparable(case)
        if self._expected[0] != key or case.reference in FROM_RESULTS:
            self._expected = (key, {})
        if step not in self._expected[1]:
            dtypes = {name: array.dtype for name, array in case.arrays.items()}
            values = OPERATIONS[case.reference](Inputs(inputs, dtypes), case.parameters, found)
            self._expected[1][step] = values
        return self._expected[1][step]


def comparable(case: Case) -> str:
    """The same for cases that compute the same of the same numbers, wherever these lie: variants of a kernel.

    Of attention only those with as many splits, since these change the order of sums.
    """
    arrays = {name: [array.role, _recipe(array, 0)] for name, array in case.arrays.items()}
    facts = json.dumps([case.side, case.reference, arrays, case.parameters.get("WINDOW")], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _recipe(array: Array, index: int) -> str:
    return json.dumps([array.dtype, array.shape, dict(array.make), array.sets, index], sort_keys=True)


def _worst(case: Case, name: str, found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """NaN, and what nobody wrote, is infinitely wrong."""
    found, expected = found.reshape(-1), expected.reshape(-1)
    if not np.isfinite(found).all():
        return float("inf")
    top = np.abs(expected).max()
    # Of ours each result is rounded once. MLX's kernels also round what lies between: sums of x, partial results.
    rounding = np.abs(expected) if case.side == "ours" else 2 * top
    array = case.arrays[name]
    allowed = _ROUNDING[array.rounded or array.dtype] * rounding + _NOISE * top
    return float((np.abs(found - expected) / allowed).max())
