"""Several answers of one session, computed together, and one that is made of them."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from mlx_model.errors import ContextError
from mlx_model.events import Warned
from mlx_model.generation.result import Result, result_of
from mlx_model.generation.runner import never
from mlx_model.generation.session import Session
from mlx_model.harmony.fold import FoldedAnswer
from mlx_model.pro.samples import Combine, Outcome, Samples, total
from mlx_model.request import Request


def answer_several(
    session: Session, request: Request, count: int, combine: Combine, read: Callable[[str], Any] | None
) -> Result:
    """`count` answers and what is made of them; see `generate`. Raises RequestError and ContextError."""
    samples, began = Samples(request, count, combine), time.perf_counter()
    results = _together(session, samples, read)
    outcome, further = samples.combination(), list[Result]()
    while isinstance(outcome, Request):
        answer = _Reading(session, outcome)
        try:
            while answer.goes_on():
                pass
        except ContextError:
            outcome = samples.leave_one_out()
        else:
            further.append(answer.result(read))
            outcome = samples.conclude(further[-1].text)
    stats = total(
        [each.stats for each in results], [each.stats for each in further], time.perf_counter() - began, samples.seed
    )
    answered = _answer_of(outcome, results, further)
    return replace(answered, stats=stats, samples=tuple(results), outcome=outcome)


def _answer_of(outcome: Outcome, results: list[Result], further: list[Result]) -> Result:
    if outcome.chosen is not None:
        return results[outcome.chosen]
    return further[-1] if further else results[0]


def _together(session: Session, samples: Samples, read: Callable[[str], Any] | None) -> list[Result]:
    """All samples, which are computed in the same steps; once they are decided, those that go on are stopped."""
    with ExitStack() as open_ones:
        readings = [_Reading(session, each, lambda: samples.is_decided) for each in samples.requests]
        for reading in readings:
            open_ones.callback(reading.steps.close)
        under_way = [*enumerate(readings)]
        while under_way:
            for number, reading in [*under_way]:
                if not reading.goes_on():
                    under_way.remove((number, reading))
                    result = reading.result(read)
                    samples.take(number, result.text, result.finish_reason)
        return [reading.result(read) for reading in readings]


class _Reading:
    """One answer as it comes."""

    def __init__(self, session: Session, request: Request, cancelled: Callable[[], bool] = never) -> None:
        self.steps = session.steps(request, cancelled)
        self._session = session
        self._answer = FoldedAnswer()
        self._warnings: list[str] = []
        self._tokens: list[int] | None = None

    def goes_on(self) -> bool:
        """Reads it up to where it waits for the others; false if that is its end."""
        for event in self.steps:
            if self._tokens is None:
                self._tokens = self._session.tokens  # those of the answer that has just begun
            if event is None:
                return True
            if isinstance(event, Warned):
                self._warnings.append(event.text)
            else:
                self._answer.take(event)
        return False

    def result(self, read: Callable[[str], Any] | None) -> Result:
        """It has ended."""
        return result_of(self._answer, self._tokens or (), read, self._warnings)
