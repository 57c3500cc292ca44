"""The list of models: those on this computer, and those that can be downloaded."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from app.tui.text.computer import ModelFacts
from app.tui.text.key_help import KeyHelp
from app.tui.text.model_rows import matching, model_rows
from app.tui.widgets.row_list import RowList
from mlx_model.text import clean

WIDTH, FRAME = 96, 6
"""Columns of the box, as over.tcss has them, and of what is around a row: borders, padding, scrollbar."""
NONE = "No model of this name here; /download org/name fetches one."


class ModelScreen(ModalScreen[ModelFacts | None]):
    """Ends with the chosen model, or with None. The keys go to the line above the list, which filters it."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The models",
        (
            ("part of a name", "find a model"),
            ("Up, Down", "choose one"),
            ("Enter", "switch to it, or download it"),
            ("Esc", "close"),
        ),
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close", show=False)]

    def __init__(self, models: Sequence[ModelFacts], in_use: str) -> None:
        super().__init__()
        self._models, self._in_use = list(models), in_use
        self._shown: list[ModelFacts] = []
        self._typed = Input(placeholder="Filter", compact=True, id="typed", select_on_focus=False)
        self._typed.cursor_blink = False
        self._list = RowList(markup=False, compact=True, id="list")
        self._list.can_focus = False

    def compose(self) -> ComposeResult:
        """The line and the list."""
        with Vertical(id="models"):
            yield self._typed
            yield self._list

    def on_mount(self) -> None:
        """Begin with the model that is in use."""
        box = self.query_one("#models")
        box.border_title, box.border_subtitle = "Models", "Enter switches or downloads, Esc closes"
        self._fill()
        names = [model.name for model in self._shown]
        self._list.highlighted = names.index(self._in_use) if self._in_use in names else 0
        self._typed.focus()

    def know(self, models: Sequence[ModelFacts]) -> None:
        """More is known of the models by now; what is highlighted stays."""
        self._models = list(models)
        if self.is_mounted:
            self._fill()

    def on_resize(self) -> None:
        """Names are cut elsewhere."""
        self._fill()

    def on_input_changed(self) -> None:
        """What is typed filters."""
        self._fill()

    def on_input_submitted(self) -> None:
        """Enter."""
        if self._list.highlighted is not None:
            self.dismiss(self._shown[self._list.highlighted])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click."""
        event.stop()
        self.dismiss(self._shown[event.option_index])

    def on_key(self, event: events.Key) -> None:
        """Keys that move in the list while another widget has the focus."""
        move = {"up": "cursor_up", "down": "cursor_down", "pageup": "page_up", "pagedown": "page_down"}.get(event.key)
        if move is not None:
            event.stop()
            getattr(self._list, f"action_{move}")()

    def _fill(self) -> None:
        before = self._shown[self._list.highlighted].name if self._list.highlighted is not None else ""
        self._shown = matching(self._models, self._typed.value)
        rows = model_rows(self._shown, self._in_use, min(WIDTH, self.app.size.width) - FRAME)
        options = [Option(Content.assemble(clean(row.text), (row.fit, "$foreground 80%"))) for row in rows]
        self._list.set_options(options or [Option(Content(NONE), disabled=True)])
        names = [row.name for row in rows]
        self._list.highlighted = names.index(before) if before in names else 0 if names else None
