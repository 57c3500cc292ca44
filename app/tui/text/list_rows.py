"""The rows of the list of conversations and of what a search has found, as text of two lines each."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from app.lines import one_line
from app.tui.text.days import time_of
from app.tui.text.marks import marked

if TYPE_CHECKING:
    from app.store.search import SearchHit
    from app.store.store import Summary

LINES = 2
"""Of a row that can be chosen."""
DIM = "$foreground 75%"
"""More than elsewhere: the row may be highlighted."""
INDENT = "  "
BAR = "\u258c "
"""Stands before the lines of the conversation on the screen."""

_MARKUP = re.compile(r"^\s*(?:```\S*|[#>]+\s|[-*+]\s)|\*\*|`", re.MULTILINE)
_TABLE = re.compile(r"\s*\|[\s|:-]*")
"""A line between cells, and with it the row of dashes below the headings."""


def conversation_row(summary: "Summary", now: float, *, current: bool) -> Content:
    """A conversation's title, and below it when it was last used and how its last answer begins."""
    below = "  ".join(filter(None, (time_of(summary.updated, now), preview_line(summary.preview))))
    title = Content(title_of(summary.title))
    return _lines(title.stylize("bold") if current else title, below, bar=current)


def day_heading(day: str, *, first: bool) -> Content:
    """What stands above the conversations of some days."""
    return Content(f"{'' if first else chr(10)} {day}").stylize("bold")


def found_heading(title: str, words: Sequence[str], *, colours: bool = True) -> Content:
    """The title of a conversation in which a search has found something."""
    return marked(Content(f" {title_of(title)}").stylize("bold"), words, colours=colours)


def hit_row(hit: "SearchHit", words: Sequence[str], now: float, *, colours: bool = True) -> Content:
    """What a message has of the words that were searched for, and below it whose message it is, and when it was."""
    return _lines(marked(Content(hit.snippet), words, colours=colours), f"{time_of(hit.created, now)}  {hit.role}")


def title_of(title: str) -> str:
    """A title in one line."""
    return one_line(title) or "untitled"


def preview_line(text: str) -> str:
    """The beginning of a text in one line, without citations and the most frequent signs of Markdown."""
    from mlx_model.tools.citations import without_citations  # now: there may be no conversation yet

    return one_line(_TABLE.sub("  ", _MARKUP.sub("", without_citations(text)))).strip()


def _lines(first: Content, below: str, *, bar: bool = False) -> Content:
    margin = Content(BAR).stylize("$primary") if bar else Content(INDENT)
    return Content("").join([margin, first, Content("\n"), margin, Content(below).stylize(DIM)])
