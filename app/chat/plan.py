"""The argument of `/pro`: how many answers to one prompt, and how one is made of them. See app.chat.pro."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlx_model.options import Options

if TYPE_CHECKING:  # comparing answers is loaded when several are asked for
    from mlx_model.pro.samples import Combine

USUAL = 8
"""Answers where nobody says how many."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many answers, how one is made of them, and the question, "" for the one that was asked last."""

    count: int = USUAL
    combine: "Combine" = "vote"
    question: str = ""


def read_plan(argument: str, options: Options, last: Plan | None = None) -> Plan:
    """What follows `/pro`: a number, then a way alone, or else a question; what is left out is as the `last` time.

    Raises RequestError for what can't be.
    """
    from mlx_model.pro.samples import COMBINE, check_samples

    last = last or Plan()
    first, _, rest = argument.strip().partition(" ")
    count, argument = (int(first[:9]), rest.strip()) if first.isdecimal() else (last.count, argument.strip())
    way = next((each for each in COMBINE if each == argument.lower()), None)
    check_samples(options, count, last.combine)
    return Plan(count, way) if way is not None else Plan(count, last.combine, argument)
