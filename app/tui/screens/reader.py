"""The reader over the chat, where the terminal has no room for both."""

from textual.app import ComposeResult
from textual.screen import ModalScreen

from app.tui.text.reading_place import ReadingPlace
from app.tui.widgets.reader import Reader


class ReaderScreen(ModalScreen[None]):
    """Its reader says when it is to close."""

    AUTO_FOCUS = "ReaderText"

    def __init__(self, place: ReadingPlace) -> None:
        super().__init__()
        self.reader = Reader(place)

    def compose(self) -> ComposeResult:
        """The reader alone."""
        yield self.reader
