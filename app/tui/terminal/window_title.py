"""The title of the terminal's window: says what goes on, and is again what it was in the end."""

from collections.abc import Callable

from app.lines import one_line

MOST_TITLE = 80
"""Characters."""
PUSH, POP = "\x1b[22;2t", "\x1b[23;2t"
"""XTWINOPS: remember the title, and take it back. A terminal without them ignores both."""


def set_title(title: str) -> str:
    """The sequence (OSC 2) for a title, which can't end it: control characters become visible signs."""
    return f"\x1b]2;{one_line(title)[:MOST_TITLE]}\x1b\\"


class WindowTitle:
    """Sets the title through `write`, which says whether it wrote; only where it has changed."""

    def __init__(self, write: Callable[[str], bool]) -> None:
        self._write = write
        self._shown: str | None = None

    def show(self, title: str) -> None:
        """Set it."""
        before = PUSH if self._shown is None else ""
        if title != self._shown and self._write(f"{before}{set_title(title)}"):
            self._shown = title

    def restore(self) -> None:
        """Take back the title that was there; without a memory for it, the terminal's own, which an empty one is."""
        if self._shown is not None and self._write(f"{set_title('')}{POP}"):
            self._shown = None
