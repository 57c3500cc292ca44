"""The files that a call has written, a line each, and below it the picture that is in a file."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from textual import work
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from app.tools.written_files import FileFacts, Pixels, can_read_pictures, facts_of, is_picture, resized
from app.tui.text.file_lines import INSTALL, file_line
from app.tui.text.half_blocks import BOX, fitted, half_blocks, lines_in, rows

MOST_LISTED = 20
MOST_DRAWN = 4
"""Pictures of a call that are drawn; others have their line."""


class _Line(NamedTuple):
    """A line of the widget: `row` of the picture of a file, the file's own line, or a `note`."""

    file: int = 0
    row: int | None = None
    note: str = ""


_BLANK = _Line(note=" ")


class CallFiles(Widget):
    """One widget for all files of a call. It keeps a small copy of each picture, and makes its lines as they are drawn.

    Pictures are drawn in terminals with 256 colours or more: in the 16 of a terminal's palette none can be recognised.
    """

    ALLOW_SELECT = False

    @dataclass
    class Grown(Message):
        """Pictures have come in, and the widget will be so many lines higher."""

        view: "CallFiles"
        lines: int

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = [Path(path) for path in paths[:MOST_LISTED]]
        more = len(paths) - MOST_LISTED
        self._notes = [f"and {more:,} more"] if more > 0 else []
        self._facts: list[FileFacts | None] = [None] * len(self._paths)
        self._narrowed: dict[int, Pixels] = {}  # pictures by the number of their file, where the screen is small

    def on_mount(self) -> None:
        """Look at the files."""
        self._look()

    @work(group="files")
    async def _look(self) -> None:
        draws = not self.app.no_color and self.app.console.color_system in ("256", "truecolor")
        before = len(self._lines(self.content_size.width))
        self._facts = await asyncio.to_thread(self._find_out, draws)
        if draws and any(map(is_picture, self._paths)) and not can_read_pictures():
            said = any(INSTALL in view._notes for view in self.screen.query(CallFiles))
            self._notes += [] if said else [INSTALL]
        more = len(self._lines(self.content_size.width)) - before
        if more:
            self.post_message(self.Grown(self, more))
        self.refresh(layout=bool(more))

    def _find_out(self, draws: bool) -> list[FileFacts | None]:
        drawn = [path for path in self._paths if is_picture(path)][: MOST_DRAWN if draws else 0]
        return [facts_of(path, BOX if path in drawn else None) for path in self._paths]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The number of lines at this width."""
        return len(self._lines(width))

    def render_line(self, y: int) -> Strip:
        """A line of text or of a picture."""
        width, lines = self.content_size.width, self._lines(self.content_size.width)
        if y >= len(lines):
            return Strip.blank(width, self.rich_style)
        line, facts = lines[y], self._facts[lines[y].file]
        if line.row is not None and facts is not None and facts.pixels is not None:
            picture = self._picture(line.file, facts.pixels, width)
            return half_blocks(picture, line.row).adjust_cell_length(width, self.rich_style)
        text = file_line(self._paths[line.file], facts, width) if not line.note else Content(line.note)
        return Visual.to_strips(self, text, width, 1, self.visual_style, pad=True)[0]

    def _lines(self, width: int) -> list[_Line]:
        lines = list[_Line]()
        for number, facts in enumerate(self._facts):
            lines.append(_Line(number))
            if facts is not None and facts.pixels is not None and width:
                lines += [_Line(number, row) for row in range(rows(self._fitted(facts.pixels, width)[1]))]
                lines.append(_BLANK)
        notes = (line for note in self._notes for line in wrap(note, max(1, width), break_on_hyphens=False))
        return [*lines, *(_Line(note=note) for note in notes)]

    def _fitted(self, pixels: Pixels, width: int) -> tuple[int, int]:
        return fitted(pixels, width, lines_in(self.app.size.height))

    def _picture(self, number: int, pixels: Pixels, width: int) -> Pixels:
        """The picture of a file, as it fits into so many columns and into the screen."""
        size = self._fitted(pixels, width)
        if size == (pixels.width, pixels.height):
            return pixels
        kept = self._narrowed.get(number)
        if kept is None or (kept.width, kept.height) != size:
            kept = self._narrowed[number] = resized(pixels, size)
        return kept
