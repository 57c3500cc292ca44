"""The order in which a page of a PDF is read: its columns one after the other, each from top to bottom.

A PDF has text where it is drawn, in the order in which it was drawn. That is mostly the order of reading, and pdfium
keeps it. Two kinds of page need more: columns that were drawn line by line across, and text drawn in no order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

LEAST_ROWS = 6
"""Fewer rows beside each other are no columns of prose."""
LEAST_WIDTH = 0.28
"""Of the page's text: the least width of a column. Columns of tables are narrower, or have short entries."""
MOST_OF_CELL = 20
"""Characters that the cells of a table have; lines of prose in narrow columns have more."""
FILLED = 0.6
"""How much of a column's width its lines fill at the least, taken together: prose does, tables don't."""


@dataclass(frozen=True, slots=True)
class Box:
    """In points from the lower left corner of the page."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def middle(self) -> float:
        return (self.bottom + self.top) / 2

    def holds(self, other: "Box") -> bool:
        """Whether the other one is in it, but for what its edge takes."""
        within = self.left - 2 <= other.left and other.right <= self.right + 2
        return within and self.bottom <= other.middle <= self.top


def zones(boxes: Sequence[Box]) -> list[Box]:
    """The parts of a page of two columns in the order of reading: what spans both, the left one, the right one, and
    again below. Nothing for a page that is read from top to bottom.

    `boxes` are those of the pieces of text on the page.
    """
    rows = _rows(boxes)
    if len(rows) < LEAST_ROWS or (gutter := _gutter(rows)) is None:
        return []
    left, right = min(box.left for box in boxes) - 1, max(box.right for box in boxes) + 1
    found: list[Box] = []
    for is_split, group in _grouped(rows, gutter):
        bottom, top = min(box.bottom for box in group) - 0.5, max(box.top for box in group) + 0.5
        edges = (left, gutter, right) if is_split else (left, right)
        found += [Box(a, bottom, b, top) for a, b in pairwise(edges)]
    return found


def _rows(boxes: Sequence[Box]) -> list[list[Box]]:
    """The boxes that stand beside each other, from the top; each row from the left."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda box: -box.middle):
        if rows and rows[-1][0].bottom <= box.middle <= rows[-1][0].top:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [sorted(row, key=lambda box: box.left) for row in rows]


def _gutter(rows: Sequence[Sequence[Box]]) -> float | None:
    """The middle of the space between two columns of prose, if the page has them."""
    left, right = min(row[0].left for row in rows), max(box.right for row in rows for box in row)
    width = right - left
    best, where = 0, 0.0
    for step in range(30, 71):
        x = left + width * step / 100
        split = [row for row in rows if _is_split(row, x)]
        if len(split) > best:
            best, where = len(split), x
    split = [row for row in rows if _is_split(row, where)]
    if best < LEAST_ROWS or 2 * best < len(rows):
        return None
    sides = ([box for row in split for box in row if box.right <= where],
             [box for row in split for box in row if box.left >= where])  # fmt: skip
    for boxes in sides:
        column = max(box.right for box in boxes) - min(box.left for box in boxes)
        filled = sum(box.right - box.left for box in boxes) / len(split)
        if column < LEAST_WIDTH * width or filled < FILLED * column:
            return None
    return (max(box.right for box in sides[0]) + min(box.left for box in sides[1])) / 2


def _is_split(row: Sequence[Box], x: float) -> bool:
    """Whether text stands on both sides of `x`, and none across."""
    return row[0].right <= x <= row[-1].left and not any(box.left < x < box.right for box in row)


def _grouped(rows: Sequence[Sequence[Box]], gutter: float) -> Iterator[tuple[bool, list[Box]]]:
    """Rows in runs: of those that keep to the columns, and of those that cross the gutter."""
    group: list[Box] = []
    was_split = None
    for row in rows:
        is_split = not any(box.left < gutter < box.right for box in row)
        if was_split is not None and is_split != was_split:
            yield was_split, group
            group = []
        was_split = is_split
        group = [*group, *row]
    if was_split is not None:
        yield was_split, group


def in_rows(lines: Sequence[tuple[str, Box]]) -> list[str] | None:
    """The lines from top to bottom, those beside each other in one, where they were drawn in no order, or as a table is
    drawn column by column; None for lines that are in order."""
    if not lines:
        return None
    middle = len(lines) // 2
    height = sorted(box.top - box.bottom for _, box in lines)[middle]
    jumps = sum(below.middle > above.middle + height / 2 for (_, above), (_, below) in pairwise(lines))
    if not jumps:
        return None
    rows = _rows([box for _, box in lines])
    is_table = 2 * sum(len(row) > 1 for row in rows) > len(rows)
    is_table &= sorted(len(text) for text, _ in lines)[middle] <= MOST_OF_CELL
    if jumps <= max(2, len(lines) // 10) and not is_table:
        return None
    texts = {id(box): text for text, box in lines}
    return ["  ".join(texts[id(box)] for box in row) for row in rows]
