"""Where formulas stand in lines of Markdown: rules of the parser for `\\(...\\)`, `\\[...\\]`, `$...$` and `$$...$$`.

Markdown alone would take the backslashes away and make emphasis of what stands between.
"""

import re
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline

from app.chat.formula_blocks import CLOSING, DISPLAYED, add_formula_blocks
from app.tui.text.formulas import to_unicode

_IN_DOLLARS = re.compile(r"\$(?! )((?:[^$`\n\\]|\\.)+?)(?<! )\$(?!\d)")
"""So that "$5 and $10" is none (the rule of Pandoc)."""
_LATEX = re.compile(r"[\\^_{}]|^[a-zA-Z]$")
"""What a formula between single dollars has: else they are dollars."""


def add_to(parser: MarkdownIt) -> None:
    """Add the rules, and that for formulas that are blocks of their own."""
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.inline.ruler.before("escape", "dollars", _dollars)
    add_formula_blocks(parser)


def _formula(state: StateInline, silent: bool) -> bool:
    """A formula. Where nothing closes it (yet), the opening delimiter alone is text.

    A displayed formula that begins a paragraph is shown as it was written from its first character on, until it is
    closed.
    """
    opening = state.src[state.pos : min(state.pos + 2, state.posMax)]
    closing = CLOSING.get(opening)
    if closing is None:
        return False
    start = state.pos
    end = start + 2
    closed_at = state.src.find(closing, end, state.posMax) if _last(state.src, closing) >= end else -1
    is_displayed = opening in DISPLAYED and start == 0
    if closed_at >= 0:
        end = closed_at + 2
        may_be_tall = is_displayed and not state.src[end : state.posMax].strip(" .,;")
        _show(state, end, state.src[start + 2 : closed_at], silent, may_be_tall=may_be_tall)
    else:
        _show(state, state.posMax if is_displayed else end, "", silent)
    return True


def _dollars(state: StateInline, silent: bool) -> bool:
    """A formula between single dollars."""
    match = _IN_DOLLARS.match(state.src, state.pos, state.posMax) if state.src[state.pos] == "$" else None
    if match is None or not _LATEX.search(match[1]):
        return False
    _show(state, match.end(), match[1], silent)
    return True


def _show(state: StateInline, end: int, latex: str, silent: bool, *, may_be_tall: bool = False) -> None:
    """Move on to `end`, with a formula or what was written as text.

    It has the type that escapes have: neither emphasis nor addresses are looked for in it.
    """
    if not silent:
        shown = to_unicode(latex)
        if shown is None or ("\n" in shown and not may_be_tall):
            shown = state.src[state.pos : end]
        state.push("text_special", "", 0).content = shown
    state.pos = end


@lru_cache(maxsize=4)
def _last(text: str, closing: str) -> int:
    """Where `closing` last occurs in a text; cached, for a text may have a thousand delimiters that nothing closes."""
    return text.rfind(closing)
