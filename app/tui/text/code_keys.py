"""The keys that copy the code blocks of the selected message, shown in their headers."""

import re
from collections.abc import Sequence

from textual.content import Content, Span
from textual.style import Style

_BEFORE = 2
"""Columns by which a key stands to the left of `copy`."""
_LOOK = "bold $accent"


def with_key(line: Content, keys: Sequence[str], first: int) -> Content:
    """A line of Markdown, if it stands above a code block with the block's key beside `copy`, where there is space;
    `first` is the number of the page's first block among those that have `keys`. Nothing changes its place."""
    text = line.plain
    for span in line.spans:
        click = span.style.meta.get("@click", "") if isinstance(span.style, Style) else ""
        block = re.fullmatch(r"copy_code\((\d+)\)", click)
        number, at = first + int(block[1]) if block else -1, span.start - _BEFORE
        if 0 <= number < len(keys) and at > 0 and text[at - 1 : at + _BEFORE].isspace():
            return Content(text[:at] + keys[number] + text[at + 1 :], [*line.spans, Span(at, at + 1, _LOOK)])
    return line
