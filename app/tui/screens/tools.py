"""The tools that the model may use in a conversation: which there are, how they are, and which are on."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from app.lines import one_line
from app.tui.text.key_help import KeyHelp
from app.tui.text.tool_rows import ANEW, ToolRow, summary, tool_lines
from app.tui.widgets.row_list import RowList

WIDTH, FRAME = 96, 6
"""Columns of the box, as over.tcss has them, and of what is around a row: borders, padding, scrollbar."""


class ToolList(RowList):
    """The tools."""


class ToolScreen(ModalScreen[frozenset[str]]):
    """Ends with the names of those that are on."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The tools",
        (("Up, Down", "choose one"), ("Space, Enter", "switch it on or off"), ("Esc", "close")),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", show=False),
        Binding("space", "switch", "Switch", show=False),
    ]

    def __init__(self, rows: Sequence[ToolRow], problems: Sequence[str] = ()) -> None:
        """`problems` are lines about what would be in the list, and can't be."""
        super().__init__()
        self._rows = list(rows)
        self._on = {row.name for row in rows if row.on}
        self._list = ToolList(markup=False, compact=True)
        self._note = Content("\n".join([*map(one_line, problems), ANEW]))
        self._summary = Static(markup=False, id="tool-summary")

    def compose(self) -> ComposeResult:
        """The list, and what it comes to."""
        with Vertical(id="tools"):
            yield self._list
            yield self._summary
            yield Static(self._note, markup=False, id="tool-note")

    def on_mount(self) -> None:
        """Begin with the first."""
        box = self.query_one("#tools")
        box.border_title, box.border_subtitle = "Tools", "Space switches, Esc closes"
        self._fill()
        self._list.highlighted = 0 if self._rows else None
        self._list.focus()

    def know(self, rows: Sequence[ToolRow]) -> None:
        """More is known of the tools by now: a server has answered. What the person has switched stays."""
        known = {row.name for row in self._rows}
        self._on |= {row.name for row in rows if row.on and row.name not in known}
        self._rows = list(rows)
        if self.is_mounted:
            self._fill()

    def on_resize(self) -> None:
        """Lines are wrapped elsewhere."""
        self._fill()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter, or a click."""
        event.stop()
        self.action_switch()

    def action_switch(self) -> None:
        """Switch the one that is highlighted."""
        if self._list.highlighted is not None:
            self._on ^= {self._rows[self._list.highlighted].name}
            self._fill()

    def action_close(self) -> None:
        """Done."""
        self.dismiss(frozenset(self._on))

    def _fill(self) -> None:
        at, scroll = self._list.highlighted, self._list.scroll_y
        lines = tool_lines(self._rows, self._on, min(WIDTH, self.app.size.width) - FRAME)
        if len(lines) == self._list.option_count:
            for index, line in enumerate(lines):
                self._list.replace_option_prompt_at_index(index, line)
        else:
            self._list.set_options([Option(line) for line in lines])
            self._list.highlighted = min(at or 0, len(lines) - 1) if lines else None
            self._list.scroll_to(y=scroll, animate=False)
        text, much = summary(self._rows, self._on)
        self._summary.update(Content(text))
        self._summary.set_class(much, "-much")
