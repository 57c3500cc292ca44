"""The input: several lines, grows with its text, Enter sends."""

import contextlib
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.keys import Keys
from textual.message import Message
from textual.widgets import TextArea

from mlx_model.text import clean

# Most terminals send Alt+Enter as ESC CR, which Textual 8.2 reads as plain Enter: the message would be sent. The table
# is Textual's own affair; where it is gone, Alt+Enter is lost and nothing else.
with contextlib.suppress(ImportError, TypeError):
    from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

    ANSI_SEQUENCES_KEYS["\x1b\r"] = (Keys.ControlJ,)  # type: ignore[index]

NEWLINE = ("shift+enter", "alt+enter", "ctrl+j")


class Composer(TextArea):
    """Posts Submitted on Enter and keeps its text; whoever takes the text clears it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "app.scroll_transcript(-1)", "Scroll up", show=False),
        Binding("pagedown", "app.scroll_transcript(1)", "Scroll down", show=False),
    ]

    @dataclass
    class Submitted(Message):
        """The person pressed Enter."""

        text: str

    @dataclass
    class LatestWanted(Message):
        """The person pressed End in an empty input."""

    def __init__(self) -> None:
        super().__init__(
            highlight_cursor_line=False,
            placeholder="Ask anything. Shift+Enter or ^J for a new line, / for commands",
        )
        self.cursor_blink = False  # a blinking cursor is a timer, and this program has none when idle

    def take(self, submitted: str) -> None:
        """Remove what was submitted; what was typed in the moment since stays."""
        self.load_text(self.text.removeprefix(submitted))
        self.move_cursor(self.document.end)

    def put_back(self, text: str) -> None:
        """Put a prompt that came to nothing before what was typed since."""
        text = clean(text)
        typed = self.text
        self.load_text(f"{text}\n\n{typed}" if typed.strip() else text)
        self.move_cursor(self.document.end)

    def on_key(self, event: events.Key) -> None:
        """Enter sends, with a modifier it breaks the line.

        Not by bindings: those act only once the key has bubbled up to the app, and by then the letters typed right
        after it are already in the text.
        """
        if event.key == "enter":
            self.post_message(self.Submitted(self.text))
        elif event.key in NEWLINE:
            self.replace("\n", *self.selection, maintain_selection_offset=False)
            self.scroll_cursor_visible()
        else:
            return
        event.stop()
        event.prevent_default()

    def action_cursor_line_end(self, select: bool = False) -> None:
        """End: the end of the line; an empty input has none, there it means the end of the conversation."""
        if self.text:
            super().action_cursor_line_end(select)
        else:
            self.post_message(self.LatestWanted())

    def on_paste(self, event: events.Paste) -> None:
        """Paste text without control characters, in place of the selection."""
        event.prevent_default()
        event.stop()
        text = clean(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        self.replace(text, *self.selection, maintain_selection_offset=False)
        self.scroll_cursor_visible()
