"""A plain text in which words can be marked."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from app.tui.text.marks import first_mark, marked
from app.tui.widgets.grows import Grows


class MarkedText(Static, Grows):
    """Shows a clean text as it is."""

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(markup=False, classes=classes)
        self._text = ""
        self._words: Sequence[str] = ()

    def show(self, text: str) -> None:
        """Show this text."""
        self._text = text
        colours = not (self._words and self.app.no_color)
        self.update(marked(Content(text), self._words, colours=colours))

    def mark(self, words: Sequence[str]) -> None:
        """Mark these words, which are folded; () marks none."""
        self._words = words
        self.show(self._text)

    def line_of_mark(self) -> int | None:
        """The line of the first word that is marked, counted from 0; None if there is none, or nothing is shown."""
        if not self.display or (at := first_mark(self._text, self._words)) is None:
            return None
        lines = Content(self._text[:at]).wrap(max(1, self.content_size.width))
        return len(lines) - 1
