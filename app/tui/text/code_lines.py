"""Code as lines for a width: in the theme's colours, on a surface of its own, long lines wrapped below their indent."""

from collections.abc import Iterator
from functools import cache

from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment

from app.tui.text.looks import HEADER, PADDING, SECONDARY, WRAPPED, look

SURFACE = "on $surface"
COPY = "copy"
"""What is clicked to copy a block."""
TAB = 4
HANG = 2
"""Columns by which the rest of a long line stands to the right of its beginning."""
_PADDED = 12
"""From this width on there is a column of surface on both sides."""

_LOOKS = {
    Token.Comment: f"italic {SECONDARY}",
    Token.Keyword: "$secondary",
    Token.Operator.Word: "$secondary",
    Token.Name.Builtin: "$secondary",
    Token.Name.Tag: "$secondary",
    Token.Name.Function: "bold",
    Token.Name.Class: "bold",
    Token.Name.Decorator: "$accent",
    Token.Name.Attribute: "$accent",
    Token.Literal.String: "$primary",
    Token.Literal.Number: "$accent",
    Token.Keyword.Constant: "$accent",
    Token.Generic.Deleted: "$error",
    Token.Generic.Inserted: "$success",
    Token.Generic.Heading: "bold",
    Token.Generic.Subheading: "bold",
    Token.Generic.Strong: "bold",
    Token.Generic.Emph: "italic",
}
"""By kinds of token; a kind without a look has that of the kind above it. Few colours: code is to be read."""

Fragment = tuple[str, str]
"""A piece of a line, and its look."""


@cache
def _look_of(kind: _TokenType) -> str:
    above: _TokenType | None = kind
    while above is not None:
        if above in _LOOKS:
            return _LOOKS[above]
        above = above.parent
    return ""


def code_lines(code: str, language: str, width: int, number: int) -> Iterator[Segment]:
    """A line with the language and a `copy` that is an action with the number of the block, then the code."""
    margin = 1 if width >= _PADDED else 0
    room = max(1, width - 2 * margin)
    yield from _header(language, room, margin, number)
    side = Segment(" " * margin, look(SURFACE, **{PADDING: True}))
    for fragments in _highlighted(code, language):
        for part, is_rest in _wrapped(fragments, room):
            yield side
            if is_rest:
                yield Segment(" " * is_rest, look(SURFACE, **{WRAPPED: True}))
            yield from (Segment(text, look(f"{style} {SURFACE}".strip())) for text, style in part)
            used = is_rest + sum(cell_len(text) for text, _ in part)
            yield Segment(" " * max(0, room + margin - used), look(SURFACE, **{PADDING: True}))
            yield Segment.line()


def _header(language: str, room: int, margin: int, number: int) -> Iterator[Segment]:
    """The line above the code. Its click is an action that holds a number: none of the model's text gets into it."""
    name = set_cell_size(language, max(0, room - len(COPY) - 2)).rstrip()
    gap = room - cell_len(name) - len(COPY)
    if gap >= 0:
        yield Segment(" " * margin + name + " " * gap, look(f"{SECONDARY} {SURFACE}", **{HEADER: True}))
    click = {HEADER: True, "@click": f"copy_code({number})"}
    yield Segment(COPY[: max(room, 1)], look(f"{SECONDARY} underline {SURFACE}", **click))
    yield Segment(" " * margin, look(SURFACE, **{HEADER: True}))
    yield Segment.line()


def _highlighted(code: str, language: str) -> Iterator[list[Fragment]]:
    """The lines of the code, without those that are empty at its end."""
    text = code.rstrip().expandtabs(TAB)
    try:
        lexer = get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    line: list[Fragment] = []
    for kind, piece in lexer.get_tokens(text):
        first, *others = piece.split("\n")
        if first:
            line.append((first, _look_of(kind)))
        for other in others:
            yield line
            line = [(other, _look_of(kind))] if other else []
    if line:
        yield line


def _wrapped(line: list[Fragment], room: int) -> Iterator[tuple[list[Fragment], int]]:
    """The parts of a line that fit, each with the columns before it: none before the first."""
    plain = "".join(text for text, _ in line)
    if cell_len(plain) <= room:
        yield line, 0
        return
    indent = len(plain) - len(plain.lstrip(" "))
    hang = min(indent + HANG, room // 2)
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
