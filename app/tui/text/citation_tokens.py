"""Citations in parsed Markdown: each becomes `[1]`, which links to the page and is an action for a click.

Citations of files stay as they are written, `[p. 4]`, and are an action too.
"""

from collections.abc import Iterable, Iterator

from markdown_it.token import Token
from rich.style import Style

from app.documents.citations import FileCitations
from app.lines import one_line
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


FILE, FLAW = "place", "flaw"
"""The tags of a citation of a file, with its number, and of what is wrong with it."""


def cite_files(tokens: Iterable[Token], content: str, citations: FileCitations) -> Iterator[Token]:
    """The tokens of a line that was written as `content`, with its citations of files apart, and what is wrong with
    them said behind them."""
    cited = citations.of(content)
    for token in tokens:
        if token.type != "text" or not cited:
            yield token
            continue
        for piece in citations.pieces(token.content, cited):
            if isinstance(piece, str):
                yield Token("text", "", 0, content=piece)
                continue
            number = citations.number(piece)
            yield Token("citation", f"{FILE}{number}", 0, content=piece.text, meta={"place": number})
            if piece.note:
                yield Token("citation", FLAW, 0, content=f" ({one_line(piece.note)})")


def styles_of(tokens: Iterable[Token]) -> dict[str, Style]:
    """The style of each tag that `cite` gives. The click is an action that holds a number, and the link is no text:
    none of a page's own words gets into them."""
    meta = [token.meta for token in tokens if token.type == "citation"]
    marks = [each["mark"] for each in meta if "mark" in each]
    styles = {
        f"{UNKNOWN}{mark.number}": look("", **{"@click": f"show_source({mark.number})"}) + Style(link=mark.url or None)
        for mark in marks
    }
    places = {
        f"{FILE}{each['place']}": look("$accent", **{"@click": f"show_place({each['place']})"})
        for each in meta
        if "place" in each
    }
    return {UNKNOWN: look(SECONDARY), FLAW: look("bold $warning"), **styles, **places}
