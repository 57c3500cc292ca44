"""The last row: the keys that do something now, to be pressed or clicked."""

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.widget import Widget

from app.chat.commands import Command
from app.tui.text.footer_keys import ACTION, footer_line


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

    async def on_click(self, event: events.Click) -> None:
        """Do what the key does."""
        if (action := event.style.meta.get(ACTION)) is not None:
            await self.run_action(f"app.{action}")

    def render(self) -> Content:
        """As many as there is room for."""
        return footer_line(self._commands, self.content_size.width)
