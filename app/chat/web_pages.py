"""The web pages in an answer: its code blocks in HTML that are whole pages."""

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded with the first answer
    from markdown_it import MarkdownIt

_LANGUAGES = ("html", "htm", "xhtml")
_PAGE = re.compile(r"\s*(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL)


def web_pages(text: str) -> list[str]:
    """The pages, in their order: blocks that say that they are HTML, or begin as a page does."""
    pages = []
    for token in _parser().parse(text):
        if token.type == "fence":
            language = token.info.strip().partition(" ")[0].lower()
            if language in _LANGUAGES or (not language and _PAGE.match(token.content)):
                pages.append(token.content)
    return pages


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt()
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
