"""The held-out questions of the evaluation: unseen words, operands and phrasings, alone and later in a chat."""

import random
from dataclasses import dataclass

from .examples import EFFORTS, Draw, Effort, Example, Step, answer
from .prompts import INSTRUCTIONS, draw_date
from .tasks import TASKS, draw_example
from .words import Words

# Task -> how many cases at each effort.
NUMBERS = {
    "count": 60, "sum": 60, "python": 30, "reverse": 12, "spell": 12, "sort": 12, "length": 12, "too large": 8,
    "greeting": 10, "program": 24, "other": 20,
}  # fmt: skip
STRAWBERRY = (
    "How many r's are in strawberry?", "how many r's are in strawberry?", "How many r's are in strawberry",
    "how many r's in strawberry", "How many r's are there in strawberry?", 'How many r\'s are in "strawberry"?',
    "How many r's are in the word strawberry?", "How many Rs are in strawberry?", "how many r are in strawberry",
    "How many times does the letter r appear in strawberry?", "count the r's in strawberry",
    "How many r in strawberry?\n", "How many R's are in Strawberry?", "How many r's are in strawberry?\n",
    "how many letter r are in strawberry?",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A question in its setting. `group` names the row of the table it counts for besides its task's."""

    group: str
    effort: Effort
    python: bool
    date: str | None
    instructions: str | None
    history: tuple[Example, ...]
    example: Example


def _history(draw: Draw, effort: Effort, python: bool, turns: int) -> tuple[Example, ...]:
    return tuple(draw_example(draw, effort, python) for _ in range(turns))


def held_out_cases(seed: int = 7, share: float = 1.0) -> list[Case]:
    """All cases; `share` below 1 gives a quick sample."""
    rng = random.Random(seed)
    draw = Draw(rng, Words(), test=True)
    cases: list[Case] = []
    for effort in EFFORTS:
        for task, number in NUMBERS.items():
            for index in range(max(2, round(number * share))):
                example = TASKS[task][0](draw, effort)
                python = rng.random() < 0.5 if example.needs_python is None else example.needs_python
                later = index % 2 == 1
                turns = rng.randint(1, 4) if later else 0
                cases.append(
                    Case(
                        group="turns 2 to 5" if later else "first turn",
                        effort=effort,
                        python=python,
                        date=draw_date(rng),
                        instructions=rng.choice(INSTRUCTIONS) if rng.random() < 0.1 else None,
                        history=_history(draw, effort, python, turns),
                        example=example,
                    )
                )
    for effort in ("medium", "high"):
        for question in STRAWBERRY:
            example = answer("strawberry", question, "", 'There are 3 r\'s in "strawberry".')
            cases.append(Case("strawberry", effort, rng.random() < 0.5, draw_date(rng), None, (), example))
        for index in range(max(2, round(20 * share))):  # some 900 to 1500 tokens of history
            task = ("count", "sum", "python", "other")[index % 4]
            history = _history(draw, effort, task == "python", rng.randint(20, 32))
            cases.append(
                Case(
                    "long chats", effort, task == "python", draw_date(rng), None, history, TASKS[task][0](draw, effort)
                )
            )
    return cases


def printed(example: Example) -> Step | None:
    """What python prints in an example that calls it."""
    return next((step for step in example.steps if step.kind == "result"), None)
