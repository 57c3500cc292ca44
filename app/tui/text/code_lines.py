"""Code as lines for a width: in the theme's colours, on a surface of its own, long lines wrapped below their indent."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment

from app.tui.text.code_words import Word
from app.tui.text.highlighting import Fragment, highlighted
from app.tui.text.looks import BLOCK_LINES, HEADER, PADDING, SECONDARY, WRAPPED, look

SURFACE = "on $surface"
GAP = 2
"""Columns between what can be clicked there."""
LEAST_NAME = 4
"""Columns that a language too long for its line keeps beside the first of them."""
TAB = 4
HANG = 2
"""Columns by which the rest of a long line stands to the right of its beginning."""
_PADDED = 12
"""From this width on there is a column of surface on both sides."""


def code_lines(
    code: str, language: str, width: int, number: int, words: Sequence[Word] | None
) -> Iterator[list[Segment]]:
    """A line with the language and the `words` that can be clicked, each an action with the number of the block, then
    the code; without that line if there are no words."""
    lines = [part for line in highlighted(written_out(code), language) for part in on_surface(line, width)]
    if words is not None:
        yield header(language, width, number, words, len(lines))
    yield from lines


def written_out(code: str) -> str:
    """Code without the lines that are empty at its end, and without tabs."""
    return code.rstrip().expandtabs(TAB)


def on_surface(line: list[Fragment], width: int) -> Iterator[list[Segment]]:
    """A line of code as lines of the screen."""
    margin, room = _columns(width)
    for part, is_rest in _wrapped(line, room):
        used = is_rest + sum(cell_len(text) for text, _ in part)
        yield [
            Segment(" " * margin, look(SURFACE, **{PADDING: True})),
            *([Segment(" " * is_rest, look(SURFACE, **{WRAPPED: True}))] if is_rest else []),
            *(Segment(text, look(f"{style} {SURFACE}".strip())) for text, style in part),
            Segment(" " * max(0, room + margin - used), look(SURFACE, **{PADDING: True})),
        ]


def _columns(width: int) -> tuple[int, int]:
    """Of surface on each side, and for code between them."""
    margin = 1 if width >= _PADDED else 0
    return margin, max(1, width - 2 * margin)


def header(language: str, width: int, number: int, words: Sequence[Word], lines: int) -> list[Segment]:
    """The line above so many of code. Its clicks are actions that hold a number: none of the model's text gets into
    them.

    In a narrow window there are as many words as fit beside the language, the first of them first; where there is no
    room for any, a click on the language does what the first would. Only a language that doesn't fit is cut.
    """
    margin, room = _columns(width)
    marks = {HEADER: True, BLOCK_LINES: (number, lines)}
    least = GAP + len(words[0].text) if words and room >= LEAST_NAME + GAP + len(words[0].text) else 0
    name = language if cell_len(language) <= room else set_cell_size(language, room - least).rstrip()
    shown = list(words)
    while shown and cell_len(name) + sum(GAP * bool(name) + len(word.text) for word in shown) > room:
        shown.pop()
    if not shown and words:
        name = name or words[0].text[:room]
    used = sum(len(word.text) for word in shown) + GAP * max(0, len(shown) - 1)
    plain, clicked = f"{SECONDARY} {SURFACE}", f"{SECONDARY} underline {SURFACE}"
    line = [Segment(" " * margin, look(plain, **marks))]
    if name:
        click = {} if shown or not words else {"@click": words[0].action(number)}
        line.append(Segment(name, look(clicked if click else plain, **marks, **click)))
    line.append(Segment(" " * max(0, room - cell_len(name) - used), look(plain, **marks)))
    for word in shown:
        if word is not shown[0]:
            line.append(Segment(" " * GAP, look(plain, **marks)))
        line.append(Segment(word.text, look(clicked, **marks, **{"@click": word.action(number)})))
    return [*line, Segment(" " * margin, look(SURFACE, **marks))]


def _wrapped(line: list[Fragment], room: int) -> Iterator[tuple[list[Fragment], int]]:
    """The parts of a line that fit, each with the columns before it: none before the first."""
    plain = "".join(text for text, _ in line)
    if cell_len(plain) <= room:
        yield line, 0
        return
    indent = len(plain) - len(plain.lstrip(" "))
    hang = min(indent + HANG, room // 2, max(0, room - 2))  # the widest sign has two columns
    start = 0
    while start < len(plain):
        before = hang if start else 0
        end = _break(plain, start, room - before, keep=indent if not start else 0)
        yield list(_cut(line, start, end)), before
        start = end


def _break(plain: str, start: int, room: int, keep: int) -> int:
    """Where the part that begins at `start` ends: behind a space if there is one in its second half."""
    near = plain[start : start + 4 * room + TAB]  # not all of it: a line may have thousands of parts
    end = start + len(chop_cells(near, max(1, room))[0])
    if end < len(plain):
        space = plain.rfind(" ", start + max(keep, (end - start) // 2), end)
        if space > start:
            return space + 1
    return max(end, start + 1)


def _cut(line: list[Fragment], start: int, end: int) -> Iterator[Fragment]:
    at = 0
    for text, style in line:
        piece = text[max(0, start - at) : max(0, end - at)]
        if piece:
            yield piece, style
        at += len(text)
