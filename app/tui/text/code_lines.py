"""Code as lines for a width: in the theme's colours, on a surface of its own, long lines wrapped below their indent."""

from collections.abc import Iterator, Sequence
from functools import cache

from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment

from app.tui.text.code_words import Word
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


def code_lines(code: str, language: str, width: int, number: int, words: Sequence[Word] | None) -> Iterator[Segment]:
    """A line with the language and the `words` that can be clicked, each an action with the number of the block, then
    the code; without that line if there are no words."""
    margin = 1 if width >= _PADDED else 0
    room = max(1, width - 2 * margin)
    lines = [part for fragments in _highlighted(code, language) for part in _wrapped(fragments, room)]
    if words is not None:
        yield from _header(language, room, margin, number, words, len(lines))
    side = Segment(" " * margin, look(SURFACE, **{PADDING: True}))
    for part, is_rest in lines:
        yield side
        if is_rest:
            yield Segment(" " * is_rest, look(SURFACE, **{WRAPPED: True}))
        yield from (Segment(text, look(f"{style} {SURFACE}".strip())) for text, style in part)
        used = is_rest + sum(cell_len(text) for text, _ in part)
        yield Segment(" " * max(0, room + margin - used), look(SURFACE, **{PADDING: True}))
        yield Segment.line()


def _header(language: str, room: int, margin: int, number: int, words: Sequence[Word], lines: int) -> Iterator[Segment]:
    """The line above the code. Its clicks are actions that hold a number: none of the model's text gets into them.

    In a narrow window there are as many words as fit beside the language, the first of them first; where there is no
    room for any, a click on the language does what the first would. Only a language that doesn't fit is cut.
    """
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
    yield Segment(" " * margin, look(plain, **marks))
    if name:
        click = {} if shown or not words else {"@click": words[0].action(number)}
        yield Segment(name, look(clicked if click else plain, **marks, **click))
    yield Segment(" " * max(0, room - cell_len(name) - used), look(plain, **marks))
    for word in shown:
        if word is not shown[0]:
            yield Segment(" " * GAP, look(plain, **marks))
        yield Segment(word.text, look(clicked, **marks, **{"@click": word.action(number)}))
    yield Segment(" " * margin, look(SURFACE, **marks))
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
