"""Asks before a download begins: it takes hours on a slow line, and gigabytes of the disk."""

from time import monotonic
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from app.tui.text.download_offer import DownloadOffer
from app.tui.text.grace import GRACE_S
from app.tui.text.key_help import KeyHelp
from mlx_model.text import clean


class Answer(Static):
    """One of the two, to click."""

    def on_click(self) -> None:
        """Choose it."""
        if isinstance(self.screen, DownloadScreen):
            self.screen.dismiss(self.id == "yes")


class DownloadScreen(ModalScreen[bool]):
    """Ends with whether the person wants it."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp("Before a download", (("Enter", "download"), ("Esc", "not now")))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "agree", "Download", show=False),
        Binding("escape,f6", "dismiss(False)", "Not now", show=False),
    ]

    def __init__(self, offer: DownloadOffer) -> None:
        super().__init__()
        self._offer = offer
        self._since = 0.0

    def compose(self) -> ComposeResult:
        """The facts, what speaks against it, the two answers."""
        offer = self._offer
        with VerticalScroll(id="download", can_focus=False):
            yield Static(_table(offer.rows))
            if offer.warning:
                yield Static(Content(offer.warning), markup=False, id="warning")
            yield Static(Content(offer.meanwhile), markup=False, id="meanwhile")
            yield Answer(Content.assemble(("Enter", "$accent"), "  Download"), markup=False, id="yes")
            yield Answer(Content.assemble(("Esc", "$accent"), "    Not now"), markup=False, id="no")

    def on_mount(self) -> None:
        """Say what it is about."""
        self._since = monotonic()
        self.query_one("#download").border_title = Content(f"Download {clean(self._offer.model.name)[:60]}")

    def action_agree(self) -> None:
        """Download, unless the key may still have been meant for what was there before."""
        if monotonic() - self._since >= GRACE_S:
            self.dismiss(True)


def _table(rows: tuple[tuple[str, str], ...]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, fact in rows:
        table.add_row(Text(name), Text(clean(fact), overflow="fold"))
    return table
