"""Gives text that Rich has laid out the colours of the theme, and marks what of it the model did not write.

Rich knows no theme. What it lays out carries a look instead, a style in Textual's words, in the meta data of its Rich
style; Textual resolves it each time it draws, so that another theme needs no new layout.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content, Span
from textual.selection import Selection
from textual.style import Style

LOOK = "look"
"""The look of a piece of text, such as "bold $primary"."""
HEADER = "header"
"""Marks a line of its own that the model did not write; Textual finds the action of a click in the same place."""
BLOCK_LINES = "block_lines"
"""Marks the line above a code block: which one of the page it is, and how many lines it has below that."""
PADDING = "padding"
"""Marks spaces around code."""
WRAPPED = "wrapped"
"""Marks the spaces that begin a line which goes on with the line above."""

BAR = "\u258f"
"""Stands beside code where colours can't tell it from prose."""
SECONDARY = "$foreground 65%"
"""The look of text of less weight: a contrast of 4.5 to 1 in our themes."""


@lru_cache(1024)
def look(style: str, **marks: Any) -> RichStyle:
    """A Rich style that only carries a look, and the marks of this file."""
    return RichStyle(meta={LOOK: style, **marks} if style else marks)


def content_of(line: Iterable[Segment]) -> Content:
    """A line with its looks and its emphasis, without Rich's own colours, and without spaces at its end but code's."""
    segments = [segment for segment in line if segment.text and not segment.control]
    while segments and not (segments[-1].style and _SIGNS.keys() & segments[-1].style.meta.keys()):
        if text := segments[-1].text.rstrip():
            segments[-1] = Segment(text, segments[-1].style)
            break
        segments.pop()
    spans: list[Span] = []
    at = 0
    for text, style, _ in segments:
        end = at + len(text)
        if style is not None:
            spans += [Span(at, end, shown) for shown in _shown_of(style)]
        at = end
    return Content("".join(segment.text for segment in segments), spans)


@lru_cache(1024)
def _shown_of(style: RichStyle) -> Sequence[str | Style]:
    """What of a Rich style is shown: its look, and its emphasis and marks."""
    meta = dict(style.meta)
    look_alone = meta.pop(LOOK, "")
    kept = {name: True for name in ("bold", "italic", "underline", "strike") if getattr(style, name)}
    own = Style.from_meta(meta) + Style(link=style.link, **kept) if meta or kept or style.link else None  # type: ignore[arg-type]
    return [each for each in (look_alone, own) if each]


def barred(line: Content) -> Content:
    """A line of code, or the one above it, with a bar in its margin, for where there is no surface to see."""
    places = [
        span.start for span in line.spans if not isinstance(span.style, str) and _OF_CODE & span.style.meta.keys()
    ]
    if len(places) < 2 or line.plain[places[0]] != " ":  # too narrow for margins, or no code
        return line
    return Content(f"{line.plain[: places[0]]}{BAR}{line.plain[places[0] + 1 :]}", list(line.spans))


def written(content: Content, selection: Selection) -> str:
    """What is selected of a layout, as the model wrote it: without headers, padding, and the wrapping of code."""
    text = content.plain
    for span in content.spans:
        if not isinstance(span.style, str):
            # Signs that no text on the screen has; they keep the places, by which a selection is made.
            sign = next((sign for mark, sign in _SIGNS.items() if mark in span.style.meta), None)
            if sign is not None:
                text = text[: span.start] + sign * (span.end - span.start) + text[span.end :]
    selected = re.sub(r"\x01*\n[ \x01]*\x02+", "", selection.extract(text))
    return re.sub(r"^[ \t]*\x00+\n?|[\x00-\x02]+", "", selected, flags=re.MULTILINE)


_OF_CODE = {HEADER, PADDING}
_SIGNS = {HEADER: "\x00", PADDING: "\x01", WRAPPED: "\x02"}
