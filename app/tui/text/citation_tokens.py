"""Citations in parsed Markdown: each becomes `[1]`, which links to the page and is an action for a click."""

from collections.abc import Iterable, Iterator

from markdown_it.token import Token
from rich.style import Style

from app.tui.text.looks import SECONDARY, look
from mlx_model.tools.citations import Citations, Mark, plain_number

UNKNOWN = "citation"
"""The tag of a citation of what was never shown, which stands there as it is."""


def cite(tokens: Iterable[Token], citations: Citations) -> Iterator[Token]:
    """The tokens of a line, those of text with their citations apart. Each source has a tag of its own."""
    for token in tokens:
        if token.type != "text" or "【" not in token.content:
            yield token
            continue
        for piece in citations.pieces(token.content):
            if isinstance(piece, Mark):
                yield Token(
                    "citation", f"{UNKNOWN}{piece.number}", 0, content=plain_number(piece), meta={"mark": piece}
                )
            elif piece.startswith("【") and piece.endswith("】"):
                yield Token("citation", UNKNOWN, 0, content=piece)
            else:
                yield Token("text", "", 0, content=piece)


def styles_of(tokens: Iterable[Token]) -> dict[str, Style]:
    """The style of each tag that `cite` gives. The click is an action that holds a number, and the link is no text:
    none of a page's own words gets into them."""
    marks = [token.meta["mark"] for token in tokens if token.type == "citation" and token.meta]
    styles = {
        f"{UNKNOWN}{mark.number}": look("", **{"@click": f"show_source({mark.number})"}) + Style(link=mark.url or None)
        for mark in marks
    }
    return {UNKNOWN: look(SECONDARY), **styles}
