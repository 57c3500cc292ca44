"""Where formulas stand in Markdown: rules of the parser for `\\(...\\)`, `\\[...\\]`, `$...$` and `$$...$$`.

Markdown alone would take the backslashes away and make emphasis, lists and headings of what stands between.
"""

import re
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

from app.tui.text.formulas import to_unicode

_CLOSING = {r"\(": r"\)", r"\[": r"\]", "$$": "$$"}
_DISPLAYED = (r"\[", "$$")
_IN_DOLLARS = re.compile(r"\$(?! )((?:[^$`\n\\]|\\.)+?)(?<! )\$(?!\d)")
"""So that "$5 and $10" is none (the rule of Pandoc)."""
_LATEX = re.compile(r"[\\^_{}]|^[a-zA-Z]$")
"""What a formula between single dollars has: else they are dollars."""


def add_to(parser: MarkdownIt) -> None:
    """Add the rules."""
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.inline.ruler.before("escape", "dollars", _dollars)
    ends = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("table", "display", _display, {"alt": ends})


def _formula(state: StateInline, silent: bool) -> bool:
    """A formula. Where nothing closes it (yet), the opening delimiter alone is text.

    A displayed formula that begins a paragraph is shown as it was written from its first character on, until it is
    closed.
    """
    opening = state.src[state.pos : min(state.pos + 2, state.posMax)]
    closing = _CLOSING.get(opening)
    if closing is None:
        return False
    start = state.pos
    end = start + 2
    closed_at = state.src.find(closing, end, state.posMax) if _last(state.src, closing) >= end else -1
    is_displayed = opening in _DISPLAYED and start == 0
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


def _display(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """A paragraph that begins with a displayed formula of several lines, none of which is a list item or a heading.

    It ends with the line that closes the formula, or as every paragraph before an empty line: so it is known from its
    first line on, and stays what it is while the text grows.
    """
    start = state.bMarks[first] + state.tShift[first]
    opening = state.src[start : state.eMarks[first]]
    closing = _CLOSING.get(opening[:2]) if opening[:2] in _DISPLAYED else None
    if closing is None or state.is_code_block(first) or closing in opening[2:]:
        return False
    if silent:
        return True
    line, closed = first + 1, False
    while line < end and not closed and not state.isEmpty(line):
        if state.sCount[line] < state.blkIndent:  # outside of the list item, unless a paragraph goes on in the line
            if line == first + 1:
                return False
            break
        closed = closing in state.src[state.bMarks[line] : state.eMarks[line]]
        line += 1
    state.line = line
    state.push("paragraph_open", "p", 1).map = [first, line]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(first, line, state.sCount[first], False).strip()
    inline.map, inline.children = [first, line], []
    state.push("paragraph_close", "p", -1)
    return True
