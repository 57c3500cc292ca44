"""The help screen: what keys do in the focused widget, then every command, then the keys of the other widgets."""

import textwrap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from app.chat.commands import GROUPS, Command
from app.tui.screens.download import DownloadScreen
from app.tui.screens.models import ModelScreen
from app.tui.screens.palette import PaletteScreen
from app.tui.screens.settings import SettingsScreen
from app.tui.screens.tools import ToolScreen
from app.tui.text.first_run import finds_it
from app.tui.text.key_help import KeyHelp
from app.tui.widgets.attached import Chip
from app.tui.widgets.composer import Composer
from app.tui.widgets.download_panel import DownloadPanel
from app.tui.widgets.pro import ProView
from app.tui.widgets.queue import Queued
from app.tui.widgets.reader import ReaderText
from app.tui.widgets.selection import SelectableTranscript
from app.tui.widgets.sidebar import ConversationList, SearchInput
from app.tui.widgets.welcome import Welcome

WIDGETS = (
    *(
        widget.KEY_HELP
        for widget in (Composer, SelectableTranscript, ConversationList, SearchInput, Queued, Chip, ReaderText, ProView)
    ),
    *(Welcome.KEY_HELP, DownloadScreen.KEY_HELP, DownloadPanel.KEY_HELP, ModelScreen.KEY_HELP),
    *(ToolScreen.KEY_HELP, SettingsScreen.KEY_HELP, PaletteScreen.KEY_HELP),
)
"""The keys of every widget that has some, in the order in which they are shown."""

GAP = 2
"""Columns between keys and what they do."""
LEAST_TEXT = 30
"""Columns that what a key does must have beside the key."""
TWO_COLUMNS = 150
"""From this many columns on the help has two."""

_CLOSING = "^ is the Ctrl key. Select text with the mouse and copy it with ^C. * is not available during an answer."


class HelpScreen(ModalScreen[None]):
    """Closes with Esc, q, Enter or the key that opened it. `focused` is the widget that it is asked about."""

    HORIZONTAL_BREAKPOINTS = [(0, "-one"), (TWO_COLUMNS, "-two")]  # noqa: RUF012  # as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close", show=False)]

    def __init__(self, focused: Widget | None = None, shared_at: str = "") -> None:
        """`focused` is the widget that has the focus, `shared_at` the URL at which other programs find the model."""
        super().__init__()
        self._last_words = f"{finds_it(shared_at)}. {_CLOSING}" if shared_at else _CLOSING
        self._here = help_of(focused)

    def compose(self) -> ComposeResult:
        """One scrolling text in groups; on a wide screen the keys of the widgets stand beside the commands."""
        here, others = self._here, [help for help in WIDGETS if help is not self._here]
        commands = [KeyHelp(title, tuple(map(_row, group))) for title, group in GROUPS.items()]
        columns = ([*([here] if here else []), *commands], others)
        with VerticalScroll(id="help"):
            with Container(id="columns"):
                for groups in columns:
                    yield _Column(groups, here)
            yield Static(Content(self._last_words), markup=False, classes="closing")

    def on_mount(self) -> None:
        """Say how to leave."""
        self.query_one("#help").border_title = "Keys and commands"
        self.query_one("#help").border_subtitle = "Esc closes"


def help_of(widget: Widget | None) -> KeyHelp | None:
    """What keys do in a widget, or in the innermost one around it that says so."""
    for node in widget.ancestors_with_self if widget is not None else ():
        help: KeyHelp | None = getattr(node, "KEY_HELP", None)
        if help is not None:
            return help
    return None


def _row(command: Command) -> tuple[str, str]:
    keys = ", ".join(filter(None, (command.shown_key, command.usage)))
    return keys, f"{command.help} *" if command.waits else command.help


class _Column(Static):
    """Groups of keys beside what they do; where that leaves little room, above it. One widget draws them all: with one
    for each title and each group the screen took twice as long to open."""

    def __init__(self, groups: Sequence[KeyHelp], focused: KeyHelp | None) -> None:
        super().__init__(markup=False)
        self._groups = [(f"{group.title} (focused)" if group is focused else group.title, group) for group in groups]
        self._key_width = max(len(keys) for group in groups for keys, _ in group.rows)
        self._lines = lru_cache(2)(lambda width: list(self._drawn(width)))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """See Widget."""
        return len(self._lines(width))

    def render(self) -> Content:
        """See Widget."""
        return Content("\n").join(self._lines(self.content_size.width))

    def _drawn(self, width: int) -> Iterator[Content]:
        stacked = width - self._key_width - GAP < LEAST_TEXT
        margin = GAP if stacked else self._key_width + GAP
        for number, (title, group) in enumerate(self._groups):
            yield from [Content("")] if number else []
            yield Content.styled(title, "bold $primary")
            for keys, what in group.rows:
                beside = "" if stacked else keys
                yield from [Content.styled(keys, "bold")] if stacked else []
                for line in textwrap.wrap(what, max(1, width - margin)):
                    yield Content.assemble((beside, "bold"), " " * (margin - len(beside)), line)
                    beside = ""
