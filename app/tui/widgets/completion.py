"""The files that a mention in the input may mean, as a list above it."""

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from app.conversation import one_line

MOST = 8
"""Names shown at once."""


class Completion(OptionList, can_focus=False):
    """Keys come from the input, which keeps the focus; a click posts OptionSelected."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self.names: list[str] = []
        self.typed = ""
        """What they were looked up for."""
        self.display = False

    def show(self, names: Sequence[str], typed: str = "") -> None:
        """Show these, the first one marked; none: nothing is shown."""
        self.names, self.typed = list(names), typed
        self.set_options([Option(Content(one_line(name))) for name in names])
        self.styles.offset = (1, -len(names) - 2)  # it lies over the conversation, which stays where it is
        self.highlighted = 0 if names else None
        self.display = bool(names)

    def hide(self) -> None:
        """Show nothing."""
        if self.display:
            self.show(())

    @property
    def choice(self) -> str | None:
        """The marked name, None if nothing is shown."""
        return self.names[self.highlighted] if self.display and self.highlighted is not None else None

    def step(self, by: int) -> None:
        """Mark another one; after the last comes the first."""
        if self.highlighted is not None:
            self.highlighted = (self.highlighted + by) % len(self.names)
