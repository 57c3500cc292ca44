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
    """What follows `/pro`: a number, a way and a question, as in "4 select: Who is right?". What is left out is as the
    `last` time. Without a colon behind it a word is a way only if it stands alone: it may be a question's first.

    Raises RequestError for what can't be.
    """
    from mlx_model.pro.samples import COMBINE, check_samples

    last = last or Plan()
    first, _, rest = argument.strip().partition(" ")
    count, argument = (int(first[:9]), rest.strip()) if first.isdecimal() else (last.count, argument.strip())
    word, _, question = argument.partition(":")
    way = next((each for each in COMBINE if each == word.strip().lower()), None)
    check_samples(options, count, last.combine)
    return Plan(count, last.combine, argument) if way is None else Plan(count, way, question.strip())
