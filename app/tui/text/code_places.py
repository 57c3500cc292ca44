"""Where the code blocks of a laid-out text end, and the text in pieces that end there."""

from collections.abc import Sequence

from textual.content import Content
from textual.style import Style

from app.tui.text.looks import BLOCK_LINES


def block_ends(lines: Sequence[Content]) -> list[int]:
    """How many lines there are up to the end of each code block, in their order."""
    places: dict[int, int] = {}
    for at, line in enumerate(lines, 1):
        for span in line.spans:
            mark = span.style.meta.get(BLOCK_LINES) if isinstance(span.style, Style) else None
            if mark is not None:
                places[mark[0]] = at + mark[1]
    return [places[number] for number in sorted(places)]


def pieces(lines: Sequence[Content], ends: Sequence[int]) -> list[Sequence[Content]]:
    """The lines up to the first of these ends, from there to the second, and so on; the last piece may have none."""
    return [lines[start:end] for start, end in zip((0, *ends), (*ends, len(lines)), strict=True)]
