"""The rows and columns of a sheet, as they stand in its text: a line for each row, `|` between cells."""

import re
from collections.abc import Iterator
from dataclasses import replace

from mlx_model.documents.document import Page

BORDER = " | "
_RANGE = re.compile(r"(?P<left>[A-Z]{1,3})(?P<top>\d{1,7}):[A-Z]{1,3}\d{1,7}(?P<hidden>, hidden)?$")
_ROW = re.compile(r"\[row (\d{1,7})\]")
_CELLS = re.compile(
    r"(?P<sheet>.+)!\$?(?P<left>[A-Z]{0,3})\$?(?P<top>\d{1,7})(?:[:-]\$?(?P<right>[A-Z]{0,3})\$?(?P<bottom>\d{1,7}))?",
    re.IGNORECASE,
)


def rows_of(page: Page) -> Iterator[tuple[int, int]]:
    """The number of each row of a sheet, and its line in the text, counted from 0."""
    label = _RANGE.search(page.label)
    row = int(label["top"]) if label else 1
    for line, text in enumerate(page.text.split("\n")):
        if match := _ROW.fullmatch(text):
            row = int(match[1])
        else:
            if text:
                yield row, line
            row += 1


def divided(wanted: str) -> tuple[str, re.Match[str]] | None:
    """The name of the sheet in `Sales!A2:D10`, and the cells; None for what names no cells."""
    match = _CELLS.fullmatch(wanted)
    return (match["sheet"].strip("'\""), match) if match else None


def cut(page: Page, cells: re.Match[str]) -> Page | None:
    """The rows of a sheet in which these cells are, and of them the columns that are named, if any are; None if the
    sheet has no values there."""
    label = _RANGE.search(page.label)
    if label is None:
        return None
    left, first = _index(cells["left"]), _index(label["left"])
    right = _index(cells["right"] or cells["left"])
    top = int(cells["top"])
    bottom = int(cells["bottom"] or top)
    lines = page.text.split("\n")
    chosen: list[str] = []
    for row, line in rows_of(page):
        if not top <= row <= bottom:
            continue
        columns = lines[line].split(BORDER)
        if left:
            columns = columns[max(0, left - first) : max(0, right - first + 1)]
        chosen.append(BORDER.join(columns))
    if not any(chosen):
        return None
    name = page.label[: label.start()]
    where = f"{cells['left'].upper() or label['left']}{top}:{(cells['right'] or cells['left']).upper()}{bottom}"
    if not left:
        where = f"rows {top} to {bottom}"
    return replace(page, text="\n".join(chosen), label=f"{name}{where}{label['hidden'] or ''}")


def _index(letters: str) -> int:
    """The number of a column, from 1; 0 for no letters."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + ord(letter) - 64
    return number
