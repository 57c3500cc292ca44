"""What the palette lists for what is typed: every command in its group, else what fits, the best first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.fuzzy import FuzzySearch

from app.chat.commands import GROUPS, Command

WAITS = "after the answer"
"""Stands in place of the key of a command that must wait."""
IN_USE = "in use"
"""Stands in place of the key of the value that a command has set."""
GAP = 2
SHORTEST = 8
"""Columns between a name, what it does and its key; and those that the middle has at least, else it is left out."""

DIM = "$foreground 75%"
"""More than elsewhere: the row may be highlighted."""

_FUZZY = FuzzySearch()
_SHORT_QUERY = 24
"""Characters: what is longer fits nothing, and Textual's search would try every way to fit it."""

PALETTE = "command_palette"


@dataclass(frozen=True, slots=True)
class PaletteRow:
    """A command, with a value or without, as the palette shows it; `places` of the name are what was typed."""

    name: str
    help: str
    key: str
    action: str
    waits: bool = False
    places: tuple[int, ...] = ()


def groups(waits: Callable[[Command], bool]) -> Iterator[tuple[str, list[PaletteRow]]]:
    """Every command but the palette itself, by group; `waits` says which must wait now."""
    for title, commands in GROUPS.items():
        yield title, [_row(command, waits(command)) for command in commands if command.action != PALETTE]


def matching(
    query: str,
    waits: Callable[[Command], bool],
    values_of: Callable[[Command], Sequence[str]],
    value_of: Callable[[Command], str] = lambda command: "",
) -> list[PaletteRow]:
    """The commands whose name, or failing that another name or the help, fits what is typed, the best first.

    A command with a value is a row of its own where the value is typed for: behind the command's name, or without it.
    `values_of` says which there are, `value_of` which is in use.
    """
    typed = " ".join(query.casefold().split())[:_SHORT_QUERY]
    found: list[tuple[float, PaletteRow]] = []
    for command in (command for commands in GROUPS.values() for command in commands if command.action != PALETTE):
        row = _row(command, waits(command))
        fits, places = _FUZZY.match(typed, row.name)
        if score := fits or _other_score(command, typed):
            found.append((score, _placed(row, places)))
        if typed.startswith(row.name) or not fits:
            for value in values_of(command):
                with_value = _with_value(row, command, value, in_use=value == value_of(command))
                score, places = _FUZZY.match(typed, with_value.name)
                has_words = all(word in with_value.name.casefold() for word in typed.split())
                if score and has_words and (places[-1] >= len(row.name) or typed == row.name):
                    found.append((score, _placed(with_value, places)))
    return [row for _, row in sorted(found, key=lambda scored: -scored[0])]


def line(row: PaletteRow, width: int, name_width: int) -> Content:
    """A row in so many columns: the name, what it does as far as it fits, and the key at the right."""
    name = Content(row.name)
    for place in row.places:
        name = name.stylize("bold underline", place, place + 1)
    key = Content(f"({WAITS})" if row.waits else row.key)
    room = width - name_width - 2 * GAP - key.cell_length
    help = Content(row.help if room >= SHORTEST else "").truncate(max(0, room), ellipsis=True)
    name = name.pad_right(max(0, name_width - name.cell_length))
    left = Content(" " * GAP).join([name, help.stylize(DIM)])
    gap = max(1, width - left.cell_length - key.cell_length)
    text = Content.assemble(left, " " * gap, key)
    return text.stylize_before(DIM) if row.waits else text


def _other_score(command: Command, typed: str) -> float:
    """How well what is typed fits what else a command is called, or its help; 0 if it doesn't."""
    if any(alias.startswith(typed) for alias in command.aliases):
        return 0.2
    return 0.1 if all(word in command.help.casefold() for word in typed.split()) else 0


def _row(command: Command, waits: bool) -> PaletteRow:
    name = command.slash or command.action.replace("_", " ")
    return PaletteRow(name, command.help, command.shown_key, command.action, waits)


def _with_value(row: PaletteRow, command: Command, value: str, *, in_use: bool) -> PaletteRow:
    does = f"{command.help.partition(':')[0]}: {value}"
    return PaletteRow(f"{row.name} {value}", does, IN_USE if in_use else "", f"{row.action}({str(value)!r})", row.waits)


def _placed(row: PaletteRow, places: Sequence[int]) -> PaletteRow:
    return PaletteRow(row.name, row.help, row.key, row.action, row.waits, tuple(places))
