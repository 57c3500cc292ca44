"""What one task of the demo model is made of: a question and the messages that answer it."""

import random
from dataclasses import dataclass
from typing import Literal

from .words import Words

Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
StepKind = Literal["analysis", "call", "result", "final"]


@dataclass(frozen=True)
class Step:
    """One message after the question: an analysis, a call of python, what python printed, or the answer."""

    kind: StepKind
    text: str


@dataclass(frozen=True)
class Example:
    """A question with its answer. `needs_python`: True needs the tool declared, False needs it absent, None either."""

    task: str
    user: str
    steps: tuple[Step, ...]
    needs_python: bool | None = None

    @property
    def final(self) -> str:
        """The text of the answer itself."""
        return self.steps[-1].text


@dataclass
class Draw:
    """Where a task takes its randomness and its words from; `test` asks for what the training never saw."""

    rng: random.Random
    words: Words
    test: bool = False

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.rng.random() < probability


def answer(task: str, user: str, analysis: str, final: str, needs_python: bool | None = None) -> Example:
    """An example of the usual shape: one analysis, one final message."""
    return Example(task, user, (Step("analysis", analysis), Step("final", final)), needs_python)


def vary_question(draw: Draw, question: str) -> str:
    """The same question as people type it: polite, capitalised, without its last mark, with a newline at the end."""
    rng = draw.rng
    lead = rng.random()
    if lead < 0.06:
        question = "please " + question
    elif lead < 0.09:
        question = "hey, " + question
    elif lead < 0.12:
        question = "can you tell me: " + question
    elif lead < 0.14:
        question = "ok, now " + question
    if draw.chance(0.5):
        question = question[0].upper() + question[1:]
    if draw.chance(0.25):
        question = question.rstrip("?.")
    elif draw.chance(0.05):
        question = question.rstrip("?.") + rng.choice([" ?", "!", "??", " please", ", please"])
    return question + ("\n" if draw.chance(0.08) else "")
