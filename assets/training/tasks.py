"""The register of tasks and how often each is trained."""

from collections.abc import Callable

from . import letters, sums, talk
from .examples import Draw, Effort, Example

Task = Callable[[Draw, Effort], Example]

# Name -> (task, share of the training). The shares follow difficulty: copying and sums are learnt late.
TASKS: dict[str, tuple[Task, float]] = {
    "count": (letters.count, 0.30),
    "length": (letters.length, 0.02),
    "reverse": (letters.reverse, 0.04),
    "sort": (letters.sort, 0.02),
    "spell": (letters.spell, 0.02),
    "sum": (sums.small_sum, 0.26),
    "python": (sums.large_sum, 0.22),
    "too large": (sums.too_large, 0.02),
    "greeting": (talk.greet, 0.02),
    "program": (talk.program, 0.06),
    "other": (talk.other, 0.05),
}


def draw_example(draw: Draw, effort: Effort, python: bool, task: str = "") -> Example:
    """An example of one task, or of a random one that suits the tools declared."""
    if task:
        return TASKS[task][0](draw, effort)
    names = [name for name in TASKS if name != ("too large" if python else "python")]
    # Where python is declared its own task is rare otherwise, since one chat in three declares it.
    weights = [TASKS[name][1] * (2 if name == "python" else 1) for name in names]
    return TASKS[draw.rng.choices(names, weights)[0]][0](draw, effort)
