"""The code blocks of a Markdown text, and where they stand in it."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # loaded with the first answer
    from markdown_it import MarkdownIt


class CodeBlock(NamedTuple):
    """One block: what it says, the language that it names ("" for none), its number in the text from 1 on, its lines
    from `first` to before `end`, and whether it stands between fences, else it is indented."""

    code: str
    language: str
    number: int
    first: int
    end: int
    is_fenced: bool


def code_blocks(text: str) -> list[CodeBlock]:
    """The blocks, in their order; those of quotes and list items too. As on the screen, what looks like HTML is text,
    and no code stands in a formula."""
    blocks = list[CodeBlock]()
    for token in _parser().parse(text):
        if token.type in ("fence", "code_block") and token.map is not None:
            language, (first, end) = (token.info.split() or [""])[0], token.map
            code = token.content.removesuffix("\n")
            blocks.append(CodeBlock(code, language, len(blocks) + 1, first, end, token.type == "fence"))
    return blocks


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    from app.chat.formula_blocks import add_formula_blocks

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    add_formula_blocks(parser)
    parser.core.ruler.enableOnly(["normalize", "block"])  # what stands within lines could take minutes
    return parser
