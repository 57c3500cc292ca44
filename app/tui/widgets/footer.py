"""The last row: the keys that do something now, to be pressed or clicked."""

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from app.chat.commands import Command
from app.tui.text.footer_keys import footer_line


class Footer(Widget):
    """Changes without a layout."""

    def __init__(self) -> None:
        super().__init__()
        self._commands: Sequence[Command] = ()

    def show(self, commands: Sequence[Command]) -> None:
        """Show the keys of these."""
        if commands != self._commands:
            self._commands = commands
            self.refresh()

    def render(self) -> Content:
        """As many as there is room for."""
        return footer_line(self._commands, self.content_size.width)
