"""A line to type a title into."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

from app.lines import one_line


class RenameScreen(ModalScreen[str | None]):
    """Ends with the new title, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Cancel", show=False)]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._input = Input(one_line(title), id="rename")
        self._input.cursor_blink = False

    def compose(self) -> ComposeResult:
        """One line."""
        yield self._input

    def on_mount(self) -> None:
        """Say what it is for."""
        self._input.border_title = "Title of the conversation"
        self._input.border_subtitle = "Enter renames, Esc cancels"
        self._input.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(one_line(event.value) or None)
