"""What is shown of several answers while they come: a line each, the votes, what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from app.chat.pro import SampleState
from app.lines import one_line

GAP = "  "
_DIM = "$foreground 65%"
_TOKENS, _STATES = 13, 9
"""Columns of a number of tokens, and of the longest state."""
_MOST_VOTE = 24
"""Columns of an answer where votes are counted."""


@dataclass(frozen=True, slots=True)
class ProFigures:
    """What there is to show. `votes` are answers and how many gave each, `abstentions` those that can't be compared.

    `doing` is what is made of the answers, "" while they come; `cost` is what they took so far, in parts, `memory` what
    the engine held at most, all in words. `notes` say what else is to be known.
    """

    states: Sequence[SampleState]
    votes: Sequence[tuple[str, int]] = ()
    abstentions: int = 0
    doing: str = ""
    cost: Sequence[str] = ()
    memory: str = ""
    notes: Sequence[str] = ()


def pro_lines(figures: ProFigures, width: int) -> list[Content]:
    """The lines for so many columns: as many as `height` says, none longer.

    What is said of all stands below: where a window is too low for so many answers, its end is what is seen.
    """
    lines = [_sample(number, state, width) for number, state in enumerate(figures.states, 1)]
    notes = Content(_fitted(figures.notes, width)).stylize(_DIM)
    return [*lines, _votes(figures, width), _all(figures, width), notes]


def height(count: int) -> int:
    """The lines that so many answers take."""
    return count + 3


def _all(figures: ProFigures, width: int) -> Content:
    """How far they are together, and what that took."""
    ended = sum(state.state in ("done", "stopped", "no answer") for state in figures.states)
    count = len(figures.states)
    work = figures.doing or (f"{count} answers at once, {ended} ended" if ended else f"{count} answers at once")
    memory = f"memory {figures.memory}" if figures.memory else ""
    return Content(_fitted([work, *figures.cost, memory], width))


def _fitted(parts: Sequence[str], width: int) -> str:
    """As many of these texts, from the first, as there is room for."""
    parts = [part for part in parts if part]
    for count in range(len(parts), 0, -1):
        if cell_len(text := " \u00b7 ".join(parts[:count])) <= width:
            return text
    return set_cell_size(parts[0], width).rstrip() if parts else ""


def _sample(number: int, state: SampleState, width: int) -> Content:
    """Number, tokens, state, and what it comes to, or its last words so far."""
    tokens = f"{state.tokens:,} tokens" if state.tokens else ""
    left = f"{number:>2}{GAP}{tokens:>{_TOKENS}}{GAP}{state.state:<{_STATES}}"
    room = width - cell_len(left) - len(GAP)
    text = one_line(state.text)
    if room < 1 or not text:
        return Content(left[:width].rstrip()).stylize(_DIM)
    if state.state == "done":
        text = text if cell_len(text) <= room else set_cell_size(text, room - 1) + "\u2026"
        return Content.assemble((f"{left}{GAP}", _DIM), text)
    return Content.assemble(left, GAP, _end_of(text, room)).stylize(_DIM)


def _end_of(text: str, room: int) -> str:
    """The last words that fit."""
    if cell_len(text) <= room:
        return text
    while cell_len(text) > room - 1:
        text = text[max(1, (cell_len(text) - room) // 2) :]
    return f"\u2026{text}"


def _votes(figures: ProFigures, width: int) -> Content:
    parts = [f"{_vote(answer)} \u00d7{votes}" for answer, votes in figures.votes]
    if figures.abstentions:
        parts.append(f"not comparable \u00d7{figures.abstentions}")
    if not parts:
        return Content()
    shown = len(parts)
    while shown > 1 and cell_len(_row(parts, shown)) > width:
        shown -= 1
    return Content(_row(parts, shown)).truncate(width, ellipsis=True)


def _row(parts: Sequence[str], shown: int) -> str:
    others = len(parts) - shown
    return GAP.join(["votes", *parts[:shown], *([f"{others} more"] if others else [])])


def _vote(answer: str) -> str:
    line = one_line(answer)
    return line if cell_len(line) <= _MOST_VOTE else set_cell_size(line, _MOST_VOTE - 1) + "\u2026"
