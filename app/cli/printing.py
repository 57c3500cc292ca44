"""What the commands print: lines of the program's own, how far they are, and styles where a terminal shows them."""

import math
import os
import sys
import unicodedata
from collections.abc import Iterable
from time import monotonic
from typing import TextIO

from app.lines import one_line
from mlx_model.text import clean

LINE_S = 30.0
"""Seconds between two lines of progress where they stay."""
_COLUMNS = 80
"""Of a terminal that does not say how many it has."""
BOLD, DIM, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def is_dumb() -> bool:
    """Whether the terminal can only print, or says nothing of what else it can."""
    return os.environ.get("TERM", "") in ("", "dumb")


def shows_styles(stream: TextIO) -> bool:
    """Whether what is printed there may be bold or dim."""
    return stream.isatty() and "NO_COLOR" not in os.environ and not is_dumb()


def emphasized(text: str, places: Iterable[tuple[int, int]]) -> str:
    """`text` with what stands between these starts and ends, as far as it has them, in bold; from left to right."""
    pieces, at = list[str](), 0
    for start, end in places:
        if start >= len(text):
            break
        pieces += [text[at:start], BOLD, text[start:end], PLAIN]
        at = end
    return "".join([*pieces, text[at:]])


def say(text: str) -> None:
    """A line of the program's own, on standard error."""
    print(f"gptoss-chat: {clean(text)}", file=sys.stderr, flush=True)


class TerminalLine:
    """A line of a terminal that is written anew, as far as there is room for it; nothing is shown elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_shown = stream.isatty() and not is_dumb()
        """Whether there is such a terminal."""
        self._width = 0

    def show(self, text: str) -> None:
        """Show this in place of what stands there."""
        if self.is_shown:
            text, width = _fitting(one_line(text), _columns(self._stream) - 1)
            print(f"\r{text}{' ' * (self._width - width)}", end="", file=self._stream, flush=True)
            self._width = width

    def end(self) -> None:
        """Take the line away, if there is one."""
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=self._stream, flush=True)
            self._width = 0


class ProgressLine(TerminalLine):
    """How far a command is: a line of a terminal, or elsewhere lines that stay, now and then."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._last = -math.inf

    def show(self, text: str, *, stays: bool = False) -> None:
        """Bring it up to date. `stays`: where lines stay, this one does however short ago the last one was."""
        if self.is_shown:
            super().show(text)
        elif stays or monotonic() - self._last >= LINE_S:
            self._last = monotonic()
            say(text)

    def say(self, text: str) -> None:
        """A line that stays, in place of the present one."""
        self.end()
        say(text)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except (OSError, ValueError):  # no terminal after all
        return _COLUMNS


def _fitting(text: str, columns: int) -> tuple[str, int]:
    """As much of a text as so many columns take, and how many that are."""
    width = 0
    for at, char in enumerate(text):
        own = 1 + (unicodedata.east_asian_width(char) in "FW")
        if width + own > columns:
            return text[:at], width
        width += own
    return text, width
