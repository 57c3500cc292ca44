"""Short messages of the program, one at a time, where they cover nothing that is read or typed."""

from time import monotonic

from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from app.tui.widgets.status import EffortSwitch

INFORMATION_S, WARNING_S, ERROR_S = 4.0, 7.0, 3.0
"""How long a message stays; an error at least so long, and then until a key is pressed: it may be read later."""


MAX_ROWS, WIDTH, PADDING = 3, 100, 2
"""Of a long message; the last two as in the style sheet."""


class Toast(Static):
    """A short message takes the place of the hint below the input. A long one is shown in up to three rows over the
    end of the conversation, which doesn't move for it. A newer message replaces an older one.

    `text` is what is said now, "" for nothing.
    """

    def __init__(self, row: EffortSwitch) -> None:
        super().__init__(markup=False)
        self.text = ""
        self._row = row
        self._severity = ""
        self._timer: Timer | None = None
        self._keep_until = 0.0
        self._placed_for = (0, 0)
        self.display = False

    def on_mount(self) -> None:
        """Find another place when there is more or less space."""
        self.screen.screen_layout_refresh_signal.subscribe(self, self._laid_out, immediate=True)

    def _laid_out(self, _: object) -> None:
        if self.text and self._space != self._placed_for:
            self._place()

    def say(self, text: str, severity: str = "information", timeout: float | None = None) -> None:
        """Show `text`, in which there are no control characters, for `timeout` seconds, by default a few."""
        if self._timer is not None:
            self._timer.stop()
        self.text, self._severity, self._timer = text, severity, None
        for name in ("information", "warning", "error"):
            self.set_class(name == severity, f"-{name}")
        if severity == "error":
            self._keep_until = monotonic() + ERROR_S
        elif text:
            stays = timeout or (WARNING_S if severity == "warning" else INFORMATION_S)
            self._timer = self.set_timer(stays, self.hide)
        self._place()

    def hide(self) -> None:
        """Say nothing."""
        if self.text:
            self.say("")

    def on_any_key(self) -> None:
        """The person goes on: an error that has been in sight goes away."""
        if self._severity == "error" and monotonic() >= self._keep_until:
            self.hide()

    def on_sent(self) -> None:
        """The person has sent something, or asks again: what was to be thought of before that is past."""
        if self._severity == "warning":
            self.hide()

    def _place(self) -> None:
        """Show the message where it fits, in a terminal of the present size."""
        room, width = self._placed_for = self._space
        text = Content(self.text)
        fits = text.cell_length <= room
        self._row.say(text if fits else Content(), self._severity)
        self.display = not fits
        if not fits:
            while len(text) > 1 and text.get_height({}, width) > MAX_ROWS:
                text = Content(f"{text.plain[:-1].rstrip()[:-10]}\u2026")
            self.styles.offset = (0, -text.get_height({}, width))
            self.update(text)

    @property
    def _space(self) -> tuple[int, int]:
        """Columns for it below the input, and above it, between its paddings."""
        above = self.parent.content_size.width if isinstance(self.parent, Widget) else 0
        return self._row.room if self._row.display else 0, max(1, min(above, WIDTH) - 2 * PADDING)
