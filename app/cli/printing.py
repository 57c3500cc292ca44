"""What the commands print: lines of the program's own, how far they are, and styles where a terminal shows them."""

import math
import os
import sys
from collections.abc import Iterable
from time import monotonic
from typing import TextIO

from mlx_model.text import clean

LINE_S = 30.0
"""Seconds between two lines of progress where they stay."""
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


class ProgressLine:
    """How far a command is: a line of a terminal that is written anew, or lines that stay, now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rewrites = stream.isatty() and not is_dumb()
        self._width = 0
        self._last = -math.inf

    def show(self, line: str, *, stays: bool = False) -> None:
        """Bring it up to date. `stays`: where lines stay, this one does however short ago the last one was."""
        if self._rewrites:
            print(f"\r{line:<{self._width}}", end="", file=self._stream, flush=True)
            self._width = len(line)
        elif stays or monotonic() - self._last >= LINE_S:
            self._last = monotonic()
            say(line)

    def say(self, text: str) -> None:
        """A line that stays, in place of the present one."""
        self.end()
        say(text)

    def end(self) -> None:
        """Take the line away, if there is one."""
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=self._stream, flush=True)
            self._width = 0
