"""The model's analysis: one line that says how long it thought, and the text under it while open."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from mlx_model.text import clean

LIVE_TAIL = 1200
"""Characters shown of an analysis that grows: wrapping all of it ten times a second costs a tenth of a core."""


class AnalysisTitle(Static, can_focus=True):
    """The line to click."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "toggle_text", "Open or close", show=False)]

    def on_click(self) -> None:
        """Open or close."""
        self.action_toggle_text()

    def action_toggle_text(self) -> None:
        """Open or close."""
        if isinstance(self.parent, Analysis):
            self.parent.open = not self.parent.open


class Analysis(Vertical):
    """Keeps the text itself and renders it only while open, so that hidden thinking costs next to nothing."""

    def __init__(self, *, opened: bool) -> None:
        super().__init__()
        self.text = ""
        self._open = opened
        self._live = True
        self._seconds = 0.0
        self._tokens = 0
        self._title = AnalysisTitle(markup=False)
        self._body = Static(markup=False, classes="analysis-text")

    def compose(self) -> ComposeResult:
        """The title, and the text under it."""
        yield self._title
        yield self._body

    def on_mount(self) -> None:
        """Show what has come so far."""
        self.refresh_text()

    @property
    def open(self) -> bool:
        """Whether the text is shown."""
        return self._open

    @open.setter
    def open(self, value: bool) -> None:
        self._open = value
        self.refresh_text()

    def update(self, text: str, seconds: float, tokens: int, *, live: bool) -> None:
        """The whole text so far, how long the model has thought, and in how many tokens."""
        self.text, self._seconds, self._tokens, self._live = text, seconds, tokens, live
        self.refresh_text()

    def refresh_text(self) -> None:
        """Bring the widgets in line with the state."""
        arrow = "\u25be" if self._open else "\u25b8"  # one cell wide in every terminal
        verb = "thinking" if self._live else "thought"
        self._title.update(Content(f"{arrow} {verb} for {self._seconds:.1f} s, {self._tokens:,} tokens"))
        self._body.display = self._open
        if self._open:
            tail = self._live and len(self.text) > LIVE_TAIL
            shown = f"\u2026{self.text[-LIVE_TAIL:]}" if tail else self.text
            self._body.update(Content(clean(shown).strip()))
