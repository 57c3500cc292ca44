"""Formulas of several lines in Markdown, `\\[...\\]` and `$$...$$`: a rule of the parser, by which they are paragraphs.

Markdown alone would make lists, headings and code of what stands between.
"""

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock

CLOSING = {r"\(": r"\)", r"\[": r"\]", "$$": "$$"}
"""What closes a formula, by what opens it."""
DISPLAYED = (r"\[", "$$")
"""What opens one that stands by itself."""


def add_formula_blocks(parser: MarkdownIt) -> None:
    """Add the rule."""
    ends = ["paragraph", "reference", "blockquote", "list"]
    parser.block.ruler.before("table", "display", _display, {"alt": ends})


def _display(state: StateBlock, first: int, end: int, silent: bool) -> bool:
    """A paragraph that begins with a displayed formula of several lines, none of which is a list item or a heading.

    It ends with the line that closes the formula, or as every paragraph before an empty line: so it is known from its
    first line on, and stays what it is while the text grows.
    """
    start = state.bMarks[first] + state.tShift[first]
    opening = state.src[start : state.eMarks[first]]
    closing = CLOSING.get(opening[:2]) if opening[:2] in DISPLAYED else None
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
