"""The text of the status line for a width: the figures, and the order in which they are left out."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from app.lines import took
from app.tui.text.progress import Progress
from mlx_model.text import clean

BAR, GAP = 10, 2
"""Columns of the bar, and between the two texts."""
WRITING = ("thinking", "answering")
"""States of an engine from which tokens come."""


@dataclass(frozen=True, slots=True)
class StatusFigures:
    """What the line can show. `memory`, `budget` in bytes, `used`, `limit` in tokens; 0, "" and None are not shown.

    `memory` is the most that the engine has held, out of the `budget` of the memory plan; `slots` of the `experts` of a
    layer are in memory, where not all are. `speed` and `ttft` are those
    of the answer under way, in tokens a second and in seconds; `progress` is that of what `state` names. `used` is
    `estimated` where nobody has counted.
    """

    model: str = ""
    memory: int = 0
    budget: int = 0
    state: str = ""
    speed: float = 0.0
    ttft: float = 0.0
    progress: Progress | None = None
    used: int = 0
    limit: int = 0
    estimated: bool = False
    saves: bool = True
    slots: int = 0
    experts: int = 0

    @property
    def share(self) -> float:
        """How full the context is, from 0 to 1."""
        return min(1.0, self.used / self.limit) if self.limit else 0.0


def fitted(figures: StatusFigures, width: int) -> tuple[str, str]:
    """The texts on the left and on the right, which fit into `width` columns with GAP between them if possible."""
    forms = list(_forms(figures))
    return next((form for form in forms if sum(map(cell_len, form)) + GAP <= width), forms[-1])


def _forms(figures: StatusFigures) -> Iterator[tuple[str, str]]:
    """From the longest to the shortest. The memory goes first; what goes on stays to the end, with its word. Where
    experts are read from the disk, that is said as long as possible: it is why answers come slowly."""
    ttft = f"first token {took(figures.ttft)}" if figures.ttft else ""
    held = memory(figures.memory, figures.budget)
    of_it = f"memory {held}" if held else ""
    experts = f"experts {figures.slots} of {figures.experts}" if figures.slots else ""
    model, with_bar, with_numbers, brief = _work(figures)
    bar, numbers, used, share = _context(figures)
    unsaved = "" if figures.saves else "not saved"
    for parts, context in (
        ((model, with_bar, ttft, of_it, experts), bar),
        ((model, with_bar, ttft, experts or of_it), bar),
        ((model, with_bar, experts or ttft), bar),
        ((model, with_bar, experts or ttft), numbers),
        ((model, with_bar), numbers),
        ((model, with_bar), used),
        ((model, with_bar), share),
        ((with_bar,), share),
        ((with_numbers,), share),
        ((model, brief), share),
        ((brief,), share),
        ((brief,), ""),
    ):
        yield " \u00b7 ".join(filter(None, (unsaved, *parts))), context


def _work(figures: StatusFigures) -> tuple[str, str, str, str]:
    """The model, and what goes on from the longest form to the shortest."""
    model, state = clean(figures.model), figures.state
    if state == "loading":
        model, state = "", f"loading {model}"
    if figures.speed and state in WRITING:
        state = f"{state} {figures.speed:,.0f} tok/s"
    if (progress := figures.progress) is None:
        return model, state, state, state
    brief = f"{state} {progress.brief}"
    if state == "reading":
        state = "reading the prompt"
    return model, f"{state} {_bar(progress.share)} {progress.text}", f"{state} {progress.text}", brief


def _context(figures: StatusFigures) -> tuple[str, str, str, str]:
    """The context in use, from the longest form to the shortest."""
    if not figures.limit:
        return "", "", "", ""
    share = f"{figures.share:.0%}"
    used = f"context {'about ' if figures.estimated else ''}{figures.used:,}"
    numbers = f"{used} / {figures.limit:,}"
    return f"{numbers}  {_bar(figures.share)} {share}", f"{numbers}  {share}", f"{used}  {share}", f"context {share}"


def _bar(share: float) -> str:
    full = round(share * BAR)
    return "\u2588" * full + "\u2591" * (BAR - full)


def memory(held: int, budget: int) -> str:
    """Bytes of memory, of which a GB has 2^30 (mlx_model/memory/sizes.py): "11.0 / 11.4 GB", or without a budget
    "11.0 GB". Always with a decimal: the figure may grow while one looks."""
    if not budget:
        return _size(held) if held else ""
    amount, of = _size(held), _size(budget)
    return f"{amount.removesuffix(of[-3:])} / {of}"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 / 10 else f"{count / 2**20:.0f} MB"
