"""The screen below all others: where the focus begins, and where Tab leads."""

from textual.screen import Screen
from textual.widget import Widget

from app.tui.widgets.attached import Chip
from app.tui.widgets.composer import Composer
from app.tui.widgets.selection import SelectableTranscript
from app.tui.widgets.welcome import Choice


class ChatScreen(Screen[None]):
    """The chat. What is typed before it is drawn goes to the input, not to the first field there is, the search.

    Tab and Shift+Tab go round: search, list, conversation (a message is selected), download, queue, attached files,
    input; between the input and the document that is read, Tab goes to and fro. But from the input and its files
    Shift+Tab leads straight to what there is most to do with: the last message, or on the first screen the first of the
    suggestions. (What else that offers has a key of its own.)
    """

    AUTO_FOCUS = "Composer"

    def focus_next(self, selector: str | type[Widget] = "*") -> Widget | None:
        """Tab. From the input it does not go round into the conversation: the letters that follow were meant for the
        input, and would be keys there. What stands beside the chat leads back to the input."""
        chain = self.focus_chain
        at = next((index for index, each in enumerate(chain) if isinstance(each, Composer)), len(chain))
        if self.focused in chain[at + 1 :]:
            self.set_focus(chain[at])
            return chain[at]
        is_last = at + 1 == len(chain)
        if isinstance(self.focused, Composer) and is_last and isinstance(chain[0], SelectableTranscript):
            return self.focused
        return super().focus_next(selector)

    def focus_previous(self, selector: str | type[Widget] = "*") -> Widget | None:
        """Shift+Tab."""
        if isinstance(self.focused, Composer | Chip):
            chain = self.focus_chain
            before = chain[chain.index(self.focused) - 1]
            if not isinstance(before, Chip) and (first := next(filter(_has_most_to_do, chain), None)) is not None:
                self.set_focus(first)
                return first
        return super().focus_previous(selector)


def _has_most_to_do(widget: Widget) -> bool:
    return isinstance(widget, SelectableTranscript) or (isinstance(widget, Choice) and widget.is_suggestion)
