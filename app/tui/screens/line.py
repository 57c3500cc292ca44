"""A line to type something into: a title, a password."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input

from app.lines import one_line


class LineScreen(ModalScreen[str | None]):
    """Ends with what was typed, or with None. What is secret is shown as dots, and kept as it was typed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Cancel", show=False)]

    def __init__(self, title: str, hint: str, text: str = "", *, is_secret: bool = False) -> None:
        super().__init__()
        self._title, self._hint, self._is_secret = title, hint, is_secret
        self._input = Input(one_line(text), id="line", password=is_secret)
        self._input.cursor_blink = False

    def compose(self) -> ComposeResult:
        """One line."""
        yield self._input

    def on_mount(self) -> None:
        """Say what it is for."""
        self._input.border_title = Content(one_line(self._title))
        self._input.border_subtitle = self._hint
        self._input.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss((event.value if self._is_secret else one_line(event.value)) or None)
