"""Marks in a text the words that a search has found there."""

from collections.abc import Sequence

from textual.content import Content

from app.store.folding import spans

MARK = "bold $block-cursor-foreground on $accent"
"""The style of what was found."""
PLAIN_MARK = "reverse"
"""The same where there are no colours."""


def marked(content: Content, words: Sequence[str], *, colours: bool = True) -> Content:
    """`content` with each of the `words`, which are folded, marked wherever it has them."""
    if not words:
        return content
    style = MARK if colours else PLAIN_MARK
    for start, end in spans(content.plain, words):
        content = content.stylize(style, start, end)
    return content


def first_mark(text: str, words: Sequence[str]) -> int | None:
    """Where the first of the `words` begins in a text; None if it has none of them."""
    return next((start for start, _ in spans(text, words)), None)
