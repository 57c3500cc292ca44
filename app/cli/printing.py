"""What the commands print: lines of the program's own, and styles where a terminal shows them."""

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from mlx_model.text import clean

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
