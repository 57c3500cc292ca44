"""A line that opens and closes what stands under it."""

from abc import abstractmethod

from rich.cells import cell_len
from textual import events
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget

from app.tui.widgets.grows import Grows

GAP = 2
"""Columns between the two texts of a title."""
SHORTEST = 12
"""Columns that the first text of a title keeps however long the second is."""


class FoldTitle(Widget):
    """The line to click: a text that is cut where the space is narrow, and one at the other end that stays."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""
        self._outcomes: tuple[str, ...] = ("",)
        self._outcome_at = 0  # the column where the second begins

    def say(self, text: str, *outcomes: str) -> None:
        """Show these clean texts; of several outcomes the first for which there is room, the last if for none.

        Costs no layout: the line is one line high whatever it says.
        """
        if (text, outcomes) != (self._text, self._outcomes):
            self._text, self._outcomes = text, outcomes
            self.refresh()

    def render(self) -> Content:
        """The two texts at the present width."""
        return self.line(self.content_size.width)

    def line(self, width: int) -> Content:
        """The two texts in so many columns."""
        text = Content(self._text)
        self._outcome_at = width
        free = width - text.cell_length - GAP
        shortest = self._outcomes[-1] if self._outcomes else ""
        outcome = Content(next((each for each in self._outcomes if cell_len(each) <= free), shortest))
        if not outcome:
            return text.truncate(width, ellipsis=True)
        text = text.truncate(max(SHORTEST, width - outcome.cell_length - GAP), ellipsis=True)
        self._outcome_at = max(text.cell_length + GAP, width - outcome.cell_length)
        return Content(" " * (self._outcome_at - text.cell_length)).join([text, outcome])

    def on_click(self, event: events.Click) -> None:
        """Open or close, unless the second text is something to click itself."""
        event.stop()  # else it would select the message as well
        if (event.x < self._outcome_at or not self.outcome_clicked()) and isinstance(self.parent, Fold):
            self.parent.toggle()

    def outcome_clicked(self) -> bool:
        """A click on the second text; whether that did anything."""
        return False


class Fold(Vertical, Grows):
    """A title, and whatever a subclass shows under it while open."""

    def __init__(self, title: FoldTitle, *, opened: bool) -> None:
        super().__init__()
        self.title = title
        self._open = opened
        self.set_class(opened, "-open")

    def on_mount(self) -> None:
        """Show what there is so far."""
        self.refresh_fold()

    @property
    def open(self) -> bool:
        """Whether more than the title is shown."""
        return self._open

    @open.setter
    def open(self, value: bool) -> None:
        self._open = value
        self.set_class(value, "-open")
        self.refresh_fold()

    def toggle(self) -> None:
        """Open or close, as the person wishes."""
        self.open = not self.open
        if self.open:  # and laid out, which takes a refresh, and one more where a thread does it
            self.call_after_refresh(self.call_after_refresh, self._keep_in_sight)

    def _keep_in_sight(self) -> None:
        """Show as much as fits of what was opened, from its title on, though the transcript would follow its end."""
        for widget in (self, self.title):
            widget.scroll_visible(animate=False, immediate=True)

    @property
    def arrow(self) -> str:
        """The sign of open or closed, one cell wide in every terminal."""
        return "\u25be" if self._open else "\u25b8"

    @abstractmethod
    def refresh_fold(self) -> None:
        """Bring the widgets in line with the state."""
