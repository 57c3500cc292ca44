"""The palette: every command to look for by its name and to run, with its key."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from app.chat.commands import Command
from app.tui.text.key_help import KeyHelp
from app.tui.text.palette_rows import PaletteRow, groups, line, matching
from app.tui.widgets.row_list import RowList


class PaletteList(RowList, can_focus=False):
    """The commands; the keys are the input's, which passes on those that move."""


class PaletteScreen(ModalScreen[str | None]):
    """Ends with the action to run, or with None.

    `waits` says which commands must wait now, `values_of` what can follow a command, `value_of` what is set; it opens
    as if `typed` were typed.
    """

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The commands",
        (("part of a name", "find a command"), ("Up, Down, Enter", "choose and run"), ("Esc", "close")),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+p", "dismiss", "Close", show=False),
        *(
            Binding(key, f"move('{how}')", show=False)
            for key, how in (
                ("down", "cursor_down"),
                ("up", "cursor_up"),
                ("pagedown", "page_down"),
                ("pageup", "page_up"),
            )
        ),
    ]

    def __init__(
        self,
        waits: Callable[[Command], bool],
        values_of: Callable[[Command], Sequence[str]],
        value_of: Callable[[Command], str],
        typed: str = "",
    ) -> None:
        super().__init__()
        self._waits = waits
        self._values_of = values_of
        self._value_of = value_of
        self._input = Input(
            typed, placeholder="find a command", select_on_focus=False, compact=True, id="palette-input"
        )
        self._input.cursor_blink = False
        self._list = PaletteList(markup=False, compact=True, id="palette-list")
        self._rows: list[PaletteRow | None] = []

    def compose(self) -> ComposeResult:
        """What is typed, and what fits it."""
        with Vertical(id="palette"):
            yield self._input
            yield self._list

    def on_mount(self) -> None:
        """Say how it is used."""
        self.query_one("#palette").border_title = "Commands"
        self.query_one("#palette").border_subtitle = "Enter runs, Esc closes"
        self.set_focus(self._input)

    def on_resize(self, event: events.Resize) -> None:
        """The rows depend on the width."""
        self.call_after_refresh(self._fill)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Other commands fit now."""
        event.stop()
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter runs what is highlighted."""
        event.stop()
        self._run(self._list.highlighted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click."""
        event.stop()
        self._run(event.option_index)

    def action_move(self, how: str) -> None:
        """Highlight another row."""
        getattr(self._list, f"action_{how}")()

    def _run(self, index: int | None) -> None:
        if index is not None and (row := self._rows[index]) is not None:
            self.dismiss(row.action)

    def _fill(self) -> None:
        typed = self._input.value.strip().removeprefix("/")  # as it is typed into the message
        shown: list[PaletteRow | str] = []
        if typed:
            shown += matching(typed, self._waits, self._values_of, self._value_of)
        else:
            for title, rows in groups(self._waits):
                shown += [title, *rows]
        self._rows = [None if isinstance(each, str) else each for each in shown]
        names = max((len(row.name) for row in self._rows if row is not None), default=0)
        width = self._list.scrollable_content_region.width
        options = [
            Option(Content(each).stylize("bold $foreground 65%"), disabled=True)
            if isinstance(each, str)
            else Option(line(each, width, names))
            for each in shown
        ]
        self._list.set_options(options or [Option(Content("No command fits."), disabled=True)])
        self._rows = self._rows or [None]
        self._list.highlighted = next((at for at, row in enumerate(self._rows) if row is not None), None)
        self._list.scroll_home(animate=False)
