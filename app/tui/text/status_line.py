"""The text of the status line for a width: the figures, and the order in which they are left out."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from mlx_model.text import clean

BAR, GAP = 10, 2
"""Columns of the bar, and between the two texts."""
WRITING = ("thinking", "answering")
"""States of an engine from which tokens come."""


@dataclass(frozen=True, slots=True)
class StatusFigures:
    """What the line can show. `memory`, `budget` in bytes, `used`, `limit`, `reused` in tokens; 0 and "" are not shown.

    `memory` is the most that the engine has held, out of the `budget` of the memory plan. `speed` and `ttft` are those
    of the answer under way, in tokens a second and in seconds.
    """

    model: str = ""
    memory: int = 0
    budget: int = 0
    state: str = ""
    speed: float = 0.0
    ttft: float = 0.0
    reused: int = 0
    used: int = 0
    limit: int = 0
    saves: bool = True

    @property
    def share(self) -> float:
        """How full the context is, from 0 to 1."""
        return min(1.0, self.used / self.limit) if self.limit else 0.0


def fitted(figures: StatusFigures, width: int) -> tuple[str, str]:
    """The texts on the left and on the right, which fit into `width` columns with GAP between them if possible."""
    forms = list(_forms(figures))
    return next((form for form in forms if sum(map(cell_len, form)) + GAP <= width), forms[-1])


def _forms(figures: StatusFigures) -> Iterator[tuple[str, str]]:
    """From the longest to the shortest.

    What can be seen elsewhere is left out first: the bar (the percentage says the same), the state (the answer grows),
    the reused tokens (in the answer's footer later). The model and how full the context is stay to the end.
    """
    state, speed = figures.state, f"{figures.speed:.0f} tok/s" if figures.speed else ""
    ttft = f"first token {figures.ttft:.1f} s" if figures.ttft else ""
    reused = f"{figures.reused:,} reused" if figures.reused else ""
    brief = speed if speed and state in WRITING else state
    model, of_it = clean(figures.model), memory(figures.memory, figures.budget)
    model_and_memory = "  ".join(filter(None, (model, of_it)))
    bar, numbers, used, share = _context(figures)
    unsaved = "" if figures.saves else "not saved"
    for parts, context in (
        ((model_and_memory, state, speed, ttft, reused), bar),
        ((model_and_memory, state, speed, ttft, reused), numbers),
        ((model_and_memory, brief, ttft, reused), numbers),
        ((model_and_memory, brief, ttft), numbers),
        ((model_and_memory, brief, ttft), used),
        ((model_and_memory, brief), used),
        ((model, brief), used),
        ((model, brief), share),
    ):
        yield " \u00b7 ".join(filter(None, (unsaved, *parts))), context


def _context(figures: StatusFigures) -> tuple[str, str, str, str]:
    """The context in use, from the longest form to the shortest."""
    if not figures.limit:
        return "", "", "", ""
    full, share = round(figures.share * BAR), f"{figures.share:.0%}"
    bar = "\u2588" * full + "\u2591" * (BAR - full)
    used = f"context {figures.used:,}"
    numbers = f"{used} / {figures.limit:,}"
    return f"{numbers}  {bar} {share}", f"{numbers}  {share}", f"{used}  {share}", share


def memory(held: int, budget: int) -> str:
    """Bytes of memory, of which a GB has 2^30 (mlx_model/memory/sizes.py): "11.0 / 11.4 GB", or without a budget
    "11.0 GB". Always with a decimal: the figure may grow while one looks."""
    if not budget:
        return _size(held) if held else ""
    amount, of = _size(held), _size(budget)
    return f"{amount.removesuffix(of[-3:])} / {of}"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 / 10 else f"{count / 2**20:.0f} MB"
