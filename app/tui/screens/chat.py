"""The screen below all others: where the focus begins, and where Tab leads."""

from textual.screen import Screen
from textual.widget import Widget

from app.tui.widgets.composer import Composer
from app.tui.widgets.selection import SelectableTranscript


class ChatScreen(Screen[None]):
    """The chat. What is typed before it is drawn goes to the input, not to the first field there is, the search.

    Tab and Shift+Tab go round: search, list, conversation (a message is selected), download, queue, attached files,
    input.
    """

    AUTO_FOCUS = "Composer"

    def focus_next(self, selector: str | type[Widget] = "*") -> Widget | None:
        """Tab. From the input it does not go round into the conversation: the letters that follow were meant for the
        input, and would be keys there."""
        chain = self.focus_chain
        if isinstance(self.focused, Composer) and chain and isinstance(chain[0], SelectableTranscript):
            return self.focused
        return super().focus_next(selector)
