"""A small picture as lines of half blocks: each cell shows two pixels, one above the other."""

from itertools import groupby

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from app.tools.written_files import Pixels

COLUMNS, ROWS, LEAST_ROWS = 60, 22, 6
"""The most that a picture takes of the screen, in cells."""
BOX = (COLUMNS, 2 * ROWS)
"""The same in pixels."""
UPPER_HALF = "\u2580"


def fitted(pixels: Pixels, columns: int, lines: int) -> tuple[int, int]:
    """The width and height in pixels at which a picture fits into so many cells; it is never made larger."""
    scale = min(1.0, columns / pixels.width, 2 * lines / pixels.height)
    return max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale))


def lines_in(screen: int) -> int:
    """How many lines a picture may take of a screen of so many: it should be seen as a whole, with some text."""
    return max(LEAST_ROWS, min(ROWS, screen - 10))


def rows(height: int) -> int:
    """How many lines a picture of this height in pixels takes."""
    return (height + 1) // 2


def half_blocks(pixels: Pixels, row: int) -> Strip:
    """A line of a picture, counted from 0. Half a line at its lower end stays as what is behind it."""
    upper, lower = _points(pixels, 2 * row), _points(pixels, 2 * row + 1)
    pairs = list(zip(upper, lower, strict=True)) if lower else [(point, None) for point in upper]
    return Strip([_cells(*pair, len(list(same))) for pair, same in groupby(pairs)], pixels.width)


def _points(pixels: Pixels, y: int) -> list[bytes]:
    at = 3 * y * pixels.width
    return [pixels.data[i : i + 3] for i in range(at, min(at + 3 * pixels.width, len(pixels.data)), 3)]


def _cells(upper: bytes, lower: bytes | None, count: int) -> Segment:
    """Cells of the same two colours; of one colour they are blank, which terminals draw without a seam."""
    if upper == lower:
        return Segment(" " * count, Style.from_color(bgcolor=_colour(upper)))
    return Segment(UPPER_HALF * count, Style.from_color(_colour(upper), _colour(lower) if lower else None))


def _colour(point: bytes) -> Color:
    return Color.from_triplet(ColorTriplet(*point))
