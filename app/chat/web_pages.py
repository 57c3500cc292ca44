"""The web pages in an answer: its code blocks in HTML that are whole pages."""

import re

from app.chat.code_blocks import code_blocks

_LANGUAGES = ("html", "htm", "xhtml")
_PAGE = re.compile(r"\s*(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL)


def web_pages(text: str) -> list[str]:
    """The pages, in their order."""
    blocks = [block for block in code_blocks(text) if block.is_fenced]
    return [f"{block.code}\n" for block in blocks if is_web_page(block.language, block.code)]


def is_web_page(language: str, code: str) -> bool:
    """Whether a code block says that it is HTML, or begins as a page does."""
    return language.lower() in _LANGUAGES or (not language and _PAGE.match(code) is not None)
