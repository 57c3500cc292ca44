"""The help screen: every key and command, read from the one list of them."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from app.tui.commands import COMMANDS, EDITING


class HelpScreen(ModalScreen[None]):
    """Closes with Esc, q, Enter or the key that opened it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close", show=False)]

    def compose(self) -> ComposeResult:
        """One scrolling text."""
        with VerticalScroll(id="help"):
            yield Static(Content(_text()), markup=False)

    def on_mount(self) -> None:
        """Say how to leave."""
        self.query_one("#help").border_title = "Keys and commands"
        self.query_one("#help").border_subtitle = "Esc closes"


def _text() -> str:
    rows = list(EDITING)
    for command in COMMANDS:
        slash = f"/{command.slash}" + (f" [{command.takes}]" if command.takes else "") if command.slash else ""
        rows.append((", ".join(filter(None, (command.shown_key, slash))), command.help))
    width = max(len(keys) for keys, _ in rows)
    lines = [f"{keys:<{width}}  {what}" for keys, what in rows]
    return "\n".join([*lines, "", "Select with the mouse, copy with ^C. ^ is the Ctrl key."])
