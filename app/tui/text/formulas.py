r"""Formulas as a terminal can show them: LaTeX to Unicode, where every sign of it has its place; else not at all.

What no sign exists for is written in one line as UnicodeMath has it (Sargent, Unicode Technical Note 28): `(a+b)/c`,
`e^(iπ)`, `√(x+1)`. Nothing is left out silently: a formula with a macro that isn't known stays as it was written.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable
from functools import cache
from typing import Any, NoReturn

from app.tui.text import formula_signs as signs
from app.tui.text.formula_layout import beside, lay_out

_SCRIPTS = {"^": signs.SUPERSCRIPTS, "_": signs.SUBSCRIPTS}
_SCRIPTED = {signs.PRIME, *signs.SUPERSCRIPTS.values(), *signs.SUBSCRIPTS.values()}
_BINOMIALS = ("binom", "dbinom", "tbinom")
_ARGUMENTS = {
    **dict.fromkeys(
        (*signs.TEXTS, *signs.UPRIGHT, *signs.ALPHABETS, *signs.ACCENTS, "not", "tag", "tag*", "pmod"), "{"
    ),
    **dict.fromkeys((*signs.FRACTIONS, *_BINOMIALS), "{{"),
    "sqrt": "[{",
}
"""The arguments of the macros that have any, as pylatexenc notes them."""


class _AsWritten(Exception):
    """Something in the formula has no faithful form here."""


@cache
def to_unicode(latex: str) -> str | None:
    """The formula, in several lines if it has several; None where it is to be shown as it was written."""
    from pylatexenc.latexwalker import LatexWalker, LatexWalkerParseError

    try:
        nodes, _, _ = LatexWalker(latex.strip(), latex_context=_context(), tolerant_parsing=False).get_latex_nodes()
        rows = _rows(nodes)
        text = "\n".join("".join(row) for row in rows).strip("\n")
    except (LatexWalkerParseError, _AsWritten, RecursionError):
        return None
    return text if text.strip() else None


@cache
def _context() -> Any:
    """Which macros take arguments, for the parser: those below alone."""
    from pylatexenc.macrospec import EnvironmentSpec, LatexContextDb, std_macro

    context = LatexContextDb()
    context.add_context_category("formulas", macros=[std_macro(*macro) for macro in _ARGUMENTS.items()])
    context.set_unknown_macro_spec(std_macro("", ""))
    context.set_unknown_environment_spec(EnvironmentSpec(""))
    return context


Token = Any
"""One character, or a node of pylatexenc's."""


def _tokens(nodes: Iterable[Any]) -> deque[Token]:
    tokens: deque[Token] = deque()
    for node in nodes:
        chars = getattr(node, "chars", None)
        tokens.extend([node] if chars is None else chars)
    return tokens


def _kind(token: Token) -> str:
    """ "LatexMacroNode" and its like; "" of a character."""
    return "" if isinstance(token, str) else type(token).__name__


def _is(token: Token, characters: str) -> bool:
    """Whether a token is one of these characters. (pylatexenc's nodes can't be compared with a str.)"""
    return isinstance(token, str) and token in characters


def _write(nodes: Iterable[Any]) -> str:
    """What stands in one line."""
    rows = _rows(nodes)
    return "".join(rows[0]).strip() if len(rows) == 1 else _refused()


def _refused() -> NoReturn:
    raise _AsWritten


def _rows(nodes: Iterable[Any]) -> list[list[str]]:
    r"""The lines of a formula, cut at `\\`, each in the cells that `&` makes."""
    tokens, rows = _tokens(nodes), [[_Line()]]
    while tokens:
        token = tokens.popleft()
        if _is(token, "&"):
            rows[-1].append(_Line())
        elif _kind(token) == "LatexMacroNode" and token.macroname in ("\\", "newline", "cr"):
            rows.append([_Line()])
        elif _kind(token) == "LatexEnvironmentNode":
            block = _environment(token)
            if len(block) == 1:
                rows[-1][-1].add(block[0])
            elif len(rows) > 1 or len(rows[0]) > 1:
                raise _AsWritten  # a tall formula inside one of several lines
            else:
                block = beside(rows[0][0].text, block, _write_tokens(tokens))
                rows = [[_Line(line)] for line in block]
        else:
            rows[-1][-1].take(token, tokens)
    return [[cell.text for cell in row] for row in rows]


def _write_tokens(tokens: deque[Token]) -> str:
    """What is left of a line."""
    line = _Line()
    while tokens:
        line.take(tokens.popleft(), tokens)
    return line.text.strip()


def _environment(node: Any) -> list[str]:
    """The lines of an environment."""
    nodes = node.nodelist
    if node.environmentname == "array":  # its first argument says how the columns are aligned
        nodes = nodes[1:] if nodes and _kind(nodes[0]) == "LatexGroupNode" else _refused()
    rows = [[cell.strip() for cell in row] for row in _rows(nodes)]
    if rows and not any(rows[-1]):
        rows.pop()
    return lay_out(node.environmentname, rows) or _refused()


class _Line:
    """A line that grows sign by sign."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self._fraction = False  # whether the text ends with a fraction that has no brackets around it
        self._start_of_fraction = 0
        self._word = False  # whether it ends with the name of a function
        self._scripts = ""  # which scripts its last sign has

    def add(self, text: str, *, word: bool = False) -> None:
        """Add signs, with what keeps them apart from those before: a space between names, brackets for a fraction."""
        if not text:
            return
        if self._fraction and (text[0].isalnum() or text[0] in signs.FACTORS):
            self._bracket_fraction()
        if text[0] in signs.CLOSING:
            self.text = self.text.rstrip()
        if (self._word and text[0].isalnum()) or (word and self.text[-1:].isalnum()):
            self.text += " "
        self.text += text
        self._fraction, self._word, self._scripts = False, word, ""

    def attach(self, mark: str, script: str) -> None:
        """Add a script to what stands before it, which stays what it is."""
        if mark in self._scripts:
            raise _AsWritten  # TeX takes no second one either
        self._scripts += mark
        if self._fraction:
            self._bracket_fraction()
        written = _script(mark, script)
        # Where a script ends must be seen: `^∞` has neither small signs nor brackets.
        self._word = self._word or (written.startswith(mark) and not written.endswith(")"))
        self.text += written

    def _bracket_fraction(self) -> None:
        fraction = self.text[self._start_of_fraction :]
        self.text = f"{self.text[: self._start_of_fraction]}({fraction.rstrip()}){' ' * fraction.endswith(' ')}"
        self._fraction = False

    def _space(self) -> None:
        """A space between two signs; none after an opening bracket or a sign that belongs to the next."""
        if self.text and self.text[-1] not in signs.OPENING and not self.text.endswith(" "):
            self.text += " "
            self._word = False

    def take(self, token: Token, tokens: deque[Token]) -> None:
        """Add a token; its arguments are taken from those that follow."""
        match _kind(token):
            case "":
                self._character(token, tokens)
            case "LatexMacroNode":
                self._macro(token, tokens)
            case "LatexGroupNode":
                self.add(_write(token.nodelist))
            case _:
                raise _AsWritten  # comments, other environments, formulas within formulas

    def _character(self, char: str, tokens: deque[Token]) -> None:
        if char in _SCRIPTS:
            self.attach(char, _operand(tokens))
        elif char.isspace():
            self._space()
        elif char == "~":
            self.text += " "
        else:
            self.add(signs.PRIME if char == "'" else char)

    def _macro(self, node: Any, tokens: deque[Token]) -> None:
        name = node.macroname
        arguments = (node.nodeargd.argnlist if node.nodeargd else None) or []
        if name in _ARGUMENTS and not arguments:
            raise _AsWritten  # as the argument of another, without braces
        if name in signs.FRACTIONS:
            self._add_fraction(*map(_argument, arguments))
        elif name in signs.SPACES:
            self.text += signs.SPACES[name]
        elif name in signs.IGNORED:
            if tokens and _is(tokens[0], ".") and name in ("left", "right", "middle"):
                tokens.popleft()
        elif arguments:
            self.add(_converted(name, arguments), word=name.startswith("operatorname"))
        else:
            self._sign(signs.signs().get(name) or _refused(), stands_apart=bool(node.macro_post_space))
        if node.macro_post_space and not _is_letter(self.text[-1:]) and name not in signs.IGNORED:
            self._space()

    def _sign(self, sign: str, *, stands_apart: bool) -> None:
        if stands_apart and not sign.isalpha() and sign not in signs.OPENING:
            self._space()  # as much before a relation as behind it
        self.add(sign, word=sign.isalpha() and len(sign) > 1)

    def _add_fraction(self, above: str, below: str) -> None:
        if not above or not below:
            raise _AsWritten
        above = above if _is_product(above) else f"({above})"
        below = below if _is_single(below) else f"({below})"
        if self._word:
            self._space()
        if self.text[-1:].isalnum() or self.text[-1:] in (*signs.CLOSING, signs.PRIME):
            self.add(f"({above}/{below})")
            return
        start = len(self.text)
        self.add(f"{above}/{below}")
        self._fraction, self._start_of_fraction = True, start


def _operand(tokens: deque[Token]) -> str:
    """What a script applies to: the next character, group or macro."""
    while tokens and _is(tokens[0], " "):
        tokens.popleft()
    if not tokens or _is(tokens[0], "^_&"):
        raise _AsWritten
    line = _Line()
    line.take(tokens.popleft(), tokens)
    return line.text.strip()


def _script(mark: str, text: str) -> str:
    table = _SCRIPTS[mark]
    if not text:
        return ""
    if all(char in table for char in text.replace(" ", "")):
        return "".join(table[char] for char in text.replace(" ", ""))
    return f"{mark}{text}" if len(text) == 1 else f"{mark}({text})"


def _argument(node: Any) -> str:
    """An argument in one line; "" for an optional one that isn't there."""
    if node is None:
        return ""
    return _write(node.nodelist if _kind(node) == "LatexGroupNode" else [node])  # in braces, or in square brackets


def _converted(name: str, arguments: list[Any]) -> str:
    """A macro with arguments, other than a fraction."""
    if name in signs.TEXTS:
        return _text(arguments[0])
    *options, text = map(_argument, arguments)
    if name in signs.UPRIGHT:
        return text
    if name in signs.ALPHABETS:
        return "".join(signs.letter(char, name) or _refused() for char in text)
    if name in signs.ACCENTS:
        return _accented(text, signs.ACCENTS[name])
    match name:
        case "sqrt":
            return _root(options[0], text)
        case "not":
            return _negated(text)
        case "pmod":
            return f"(mod {text})"
        case "tag" | "tag*":
            return f"  ({text})"
        case _:
            return f"({options[0]} choose {text})"


def _text(node: Any) -> str:
    r"""The words of a `\text`, with their spaces."""
    text = node.latex_verbatim()
    text = text[1:-1] if text.startswith("{") else text
    if re.search(r"[\\${}]", text):
        raise _AsWritten
    return re.sub(r"\s+", " ", text)


def _is_letter(char: str) -> bool:
    """Whether a sign is written close to the next: a Greek letter as much as a differential."""
    return (char.isalpha() and not char.isascii()) or char in signs.OPENING


def _is_product(text: str) -> bool:
    """Whether a numerator needs no brackets: nothing is added or compared in it, outside of brackets of its own."""
    inner = re.sub(r"\([^()]*\)", "", text)
    return all(char.isalnum() or char in (*".!∂∇", signs.PRIME) or unicodedata.combining(char) for char in inner)


def _is_single(text: str) -> bool:
    """Whether a denominator needs no brackets: one number, one letter with its scripts, or a differential."""
    bare = "".join(
        char for char in text if char not in _SCRIPTED and char != signs.PRIME and not unicodedata.combining(char)
    )
    return len(bare) == 1 or bare.isdecimal() or (len(bare) == 2 and bare[0] in "d∂")


def _root(degree: str, text: str) -> str:
    sign = signs.ROOTS.get(degree) or f"{_script('^', degree)}√"
    return sign + (text if len(text) == 1 or text.isdecimal() else f"({text})")


def _accented(text: str, accent: str) -> str:
    if accent in ("\u0305", "\u0332") and text.isalnum():
        return "".join(char + accent for char in text)
    return f"{text}{accent}" if len(text) == 1 else _refused()


def _negated(sign: str) -> str:
    return unicodedata.normalize("NFC", f"{sign}\u0338") if len(sign) == 1 else _refused()
