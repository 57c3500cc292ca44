"""The sources of an answer as lines for a width: where each is from, and what was cited of those that are open."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual.content import Content
from textual.style import Style

from app.tui.text.looks import SECONDARY
from mlx_model.tools.citations import Source

HEADING = "Sources"
ALL = 0
"""In place of a number: what a click lists all sources with."""
SOURCE = "source"
"""Marks what a click opens: the number of a source, or ALL."""
AT_FIRST = 6
"""Sources that are listed until all are wanted."""
MOST_LINES = 100
"""Cited lines shown of a source: more than a view of the browser has."""
NOT_SEEN = "The model has seen none of the lines it cites, or it cites none."
_GAP = "  "
_LEAST, _LONGEST = 12, 30
"""Columns that a title gets, or none; columns that a site gets, or a third of them all."""


class Line(NamedTuple):
    """A line of the list, and the number of the source that it belongs to, or ALL."""

    content: Content
    number: int


def listed(sources: Sequence[Source], *, all_of_them: bool) -> Sequence[Source]:
    """Those that have a line: all, or the first. A line that says there is one more would take the room of that one."""
    return sources if all_of_them or len(sources) <= AT_FIRST + 1 else sources[:AT_FIRST]


def source_lines(
    sources: Sequence[Source], opened: Collection[int], width: int, *, all_of_them: bool = False
) -> list[Line]:
    """A line for each source, and below those `opened` the address and what was cited; beside a heading, or below it
    where the space is narrow."""
    shown = listed(sources, all_of_them=all_of_them)
    heading = Content(f"{HEADING}{_GAP}").stylize(SECONDARY)
    beside = heading.cell_length if width >= 7 * heading.cell_length else 0
    digits = len(str(shown[-1].number))
    room = width - beside - digits - 1
    columns = _Columns.of(shown, room)
    indent = Content(" " * (digits + 1))
    lines = []
    for source in shown:
        number = Content(f"{source.number:>{digits}} ").stylize("$accent")
        line = number + columns.line(source)
        lines.append(Line(line.stylize(Style.from_meta({SOURCE: source.number})), source.number))
        if source.number in opened:
            lines += [Line(indent + detail, source.number) for detail in _details(source, room)]
    if more := len(sources) - len(shown):
        text = Content(f"and {more} more").stylize("$accent").stylize(Style.from_meta({SOURCE: ALL}))
        lines.append(Line(indent + text, ALL))
    if beside:
        margins = [heading, *[Content(" " * beside)] * (len(lines) - 1)]
        lines = [Line(margin + line.content, line.number) for margin, line in zip(margins, lines, strict=True)]
    else:
        lines.insert(0, Line(heading.rstrip(), ALL))
    return [Line(line.content.truncate(max(1, width)), line.number) for line in lines]


class _Columns(NamedTuple):
    """The widths of what a line says: the site, the title, which lines. What has no room for it is left out."""

    site: int
    title: int
    where: int

    @classmethod
    def of(cls, sources: Sequence[Source], width: int) -> "_Columns":
        """Those that these sources need, as far as there is room: for the site first, for the title last."""
        site = min(max(cell_len(_name(source)) for source in sources), max(_LONGEST, width // 3), max(1, width))
        where = min(max(cell_len(source.where) for source in sources), max(_LEAST, width // 3))
        if where > width - site - len(_GAP):
            return cls(site, 0, 0)
        room = width - site - len(_GAP) - (where + len(_GAP) if where else 0)
        titles = [cell_len(source.title) for source in sources if source.site]
        return cls(site, min(max(titles, default=0), room) if room >= _LEAST else 0, where)

    def line(self, source: Source) -> Content:
        """`docs.python.org  Title  L12-15`"""
        title = source.title if source.site else ""
        texts = [
            (self.site, _name(source), ""),
            (self.title, title, "$foreground 85%"),
            (self.where, source.where, SECONDARY),
        ]
        parts = [Content(text).truncate(width, ellipsis=True).stylize(style) for width, text, style in texts]
        parts[0] = _linked(parts[0], source)
        columns = [part.truncate(width, pad=True) for part, (width, _, _) in zip(parts, texts, strict=True) if width]
        return Content(_GAP).join(columns).rstrip()


def _name(source: Source) -> str:
    return source.site or source.title


def _details(source: Source, width: int) -> Iterator[Content]:
    for row in Content(source.url).wrap(max(1, width)) if source.url else ():
        yield _linked(row.stylize(SECONDARY), source)
    shown = source.lines[:MOST_LINES]
    labels = [f"L{number}{_GAP}" if number is not None else "" for number, _ in shown]
    indent = max(map(len, labels), default=0)
    for label, (_, text) in zip(labels, shown, strict=True):
        for row in Content(text.expandtabs(4)).wrap(max(1, width - indent)) or [Content()]:
            yield Content(label.ljust(indent)).stylize(SECONDARY) + row
            label = ""
    if not shown:
        yield from (row.stylize(SECONDARY) for row in Content(NOT_SEEN).wrap(max(1, width)))
    elif more := len(source.lines) - len(shown):
        yield Content(f"and {more:,} more lines").stylize(SECONDARY)


def _linked(text: Content, source: Source) -> Content:
    return text.stylize(Style(link=source.url)) if source.url else text
