"""The help screen: what keys do in the focused widget, then every key and command, read from the one list of them."""

from collections.abc import Iterable
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from app.chat.commands import GROUPS, WIDGETS, Command, Keys

_CLOSING = "^ is the Ctrl key. Select with the mouse, copy with ^C. * waits for the end of an answer under way."


class HelpScreen(ModalScreen[None]):
    """Closes with Esc, q, Enter or the key that opened it. `focused` is the widget that it is asked about."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close", show=False)]

    def __init__(self, focused: Widget | None = None) -> None:
        super().__init__()
        self._here = keys_of(focused)

    def compose(self) -> ComposeResult:
        """One scrolling text in groups."""
        here, others = self._here, [keys for keys in WIDGETS.values() if keys is not self._here]
        commands = [Keys(title, tuple(map(_row, group))) for title, group in GROUPS.items()]
        groups = [*([here] if here else []), *commands, *others]
        width = max(len(keys) for group in groups for keys, _ in group.rows)
        with VerticalScroll(id="help"):
            for group in groups:
                title = f"{group.title}: here" if group is here else group.title
                yield Static(Content(title), markup=False, classes="heading")
                yield Static(_table(group.rows, width))
            yield Static(Content(_CLOSING), markup=False, classes="closing")

    def on_mount(self) -> None:
        """Say how to leave."""
        self.query_one("#help").border_title = "Keys and commands"
        self.query_one("#help").border_subtitle = "Esc closes"


def keys_of(widget: Widget | None) -> Keys | None:
    """What keys do in a widget, or in the innermost one around it of which that is known."""
    for node in widget.ancestors_with_self if widget is not None else ():
        for name in (f"#{node.id}", *(kind.__name__ for kind in type(node).__mro__)):
            if name in WIDGETS:
                return WIDGETS[name]
    return None


def _row(command: Command) -> tuple[str, str]:
    keys = ", ".join(filter(None, (command.shown_key, command.usage)))
    return keys, f"{command.help} *" if command.waits else command.help


def _table(rows: Iterable[tuple[str, str]], width: int) -> Table:
    """Keys in `width` columns, and beside them what they do; what is too long for its line goes on below itself."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=width)
    table.add_column()
    for keys, what in rows:
        table.add_row(Text(keys), Text(what))
    return table
