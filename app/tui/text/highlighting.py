"""Code in the looks of its kinds: keywords, strings, comments and so on, by Pygments."""

from collections.abc import Iterator
from functools import cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token, _TokenType
from pygments.util import ClassNotFound

from app.tui.text.looks import SECONDARY

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


def highlighted(code: str, language: str) -> Iterator[list[Fragment]]:
    """The lines of the code, without an empty one at its end; neighbours of one look are one piece."""
    line: list[Fragment] = []
    for kind, text in _lexer(language).get_tokens(code):
        look = _look_of(kind)
        for number, piece in enumerate(text.split("\n")):
            if number:
                yield line
                line = []
            if line and line[-1][1] == look:
                line[-1] = (line[-1][0] + piece, look)
            elif piece:
                line.append((piece, look))
    if line:
        yield line


def _lexer(language: str) -> Lexer:
    try:
        return get_lexer_by_name(language or "text", stripnl=False)
    except ClassNotFound:
        return get_lexer_by_name("text", stripnl=False)
