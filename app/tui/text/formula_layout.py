"""Formulas of several lines: aligned equations, cases, matrices."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

_LINED_UP = frozenset(("aligned", "align", "align*", "gathered", "gather", "gather*", "split", "equation", "equation*"))
_MATRICES = {"matrix": "  ", "pmatrix": "()", "bmatrix": "[]", "vmatrix": "||", "Vmatrix": "‖‖", "array": "  "}
_TALL = {"(": "⎛⎜⎝", ")": "⎞⎟⎠", "[": "⎡⎢⎣", "]": "⎤⎥⎦", "{": "⎧⎪⎩", "|": "|||", "‖": "‖‖‖", " ": "   "}
"""The upper end, a piece and the lower end of a bracket that is several lines tall."""


def lay_out(environment: str, rows: Sequence[Sequence[str]]) -> list[str] | None:
    """The lines of an environment whose rows have these cells; None for one that isn't known."""
    if environment in _LINED_UP:
        return _columns(rows, " ", right_first=True)
    if environment in ("cases", "dcases"):
        return _bracketed(_columns(rows, "  "), "{", " ")
    if (brackets := _MATRICES.get(environment)) is not None:
        return _bracketed(_columns(rows, "  "), *brackets)
    return None


def beside(before: str, lines: Sequence[str], after: str) -> list[str]:
    """Lines with a text before and one behind the middle one."""
    middle, indent = (len(lines) - 1) // 2, " " * cell_len(before)
    return [
        f"{before}{line} {after}".rstrip() if row == middle else f"{indent}{line}" for row, line in enumerate(lines)
    ]


def _columns(rows: Sequence[Sequence[str]], gap: str, *, right_first: bool = False) -> list[str]:
    """One column below the other; with `right_first` every other one, from the first on, is flush right."""
    count = max(map(len, rows), default=0)
    widths = [max((cell_len(row[n]) for row in rows if n < len(row)), default=0) for n in range(count)]
    lines = []
    for row in rows:
        cells = []
        for n, (cell, width) in enumerate(zip(row, widths, strict=False)):
            flush_right = right_first and n % 2 == 0
            cells.append(" " * (width - cell_len(cell)) + cell if flush_right else set_cell_size(cell, width))
        lines.append(gap.join(cells))
    width = max(map(cell_len, lines), default=0)
    return [line.rstrip() if right_first else set_cell_size(line, width) for line in lines]


def _bracketed(lines: list[str], left: str, right: str) -> list[str]:
    """Lines between brackets as tall as they are."""
    if len(lines) < 2:
        return [f"{left}{line}{right}".strip() for line in lines]
    return [f"{_piece(left, n, lines)} {line} {_piece(right, n, lines)}".rstrip() for n, line in enumerate(lines)]


def _piece(bracket: str, row: int, lines: list[str]) -> str:
    first, middle, last = list(_TALL[bracket])
    if bracket == "{":
        if len(lines) == 2:
            return "⎰⎱"[row]
        if row == len(lines) // 2:
            return "⎨"
    return first if row == 0 else last if row == len(lines) - 1 else middle
