"""The panel of a download: one bar and its figures, what is going on, and what can be done."""

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from app.tui.text.key_help import KeyHelp
from mlx_model.hub.progress import ACTIVE, DownloadState, Phase, pace
from mlx_model.memory.sizes import disk_size
from mlx_model.text import clean

NAME = 24
"""Columns that the name of a model may take."""
LEAST_BAR = 6
"""Columns below which a bar shows nothing that the percentage doesn't."""
STEPS = {Phase.PAUSED: "resume", Phase.FAILED: "try again", Phase.DONE: "switch to this model"}


class Gauge(Widget):
    """One line: name, bar, per cent, bytes, speed, time left. It changes without a layout."""

    progress: reactive[tuple[str, DownloadState]] = reactive(("", DownloadState(Phase.ASKING)))

    def render(self) -> Content:
        """The line, as wide as there is space."""
        name, state = self.progress
        head = Content(f"{clean(name)[:NAME]}  ")
        if not state.total:
            return head
        tail = f"  {figures(state)}"
        width = self.size.width - head.cell_length - len(tail)
        if width < LEAST_BAR:
            return head.append(tail.strip())
        full = width * state.done // state.total
        # Told apart by more than colour.
        return Content.assemble(head, ("\u2501" * full, "$primary"), ("\u2500" * (width - full), "$panel"), tail)


class Step(Static, can_focus=True):
    """Something that can be done: by a click, or by Enter once Tab has come here."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "do", "Do it", show=False)]

    def on_click(self) -> None:
        """Do it."""
        self.action_do()

    def action_do(self) -> None:
        """Post it as a message."""
        self.post_message(DownloadPanel.StepRequested(hide=self.id == "download-hide"))


class DownloadPanel(Vertical):
    """Between conversation and input; not there without a download, and when it is hidden."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp("The download", (("Enter", "do what the highlighted word says"),))

    @dataclass
    class StepRequested(Message):
        """The person wants the panel away, or else the next step: pause, resume, try again, switch."""

        hide: bool

    def __init__(self) -> None:
        super().__init__()
        self.display = False
        self._gauge, self._note = Gauge(), Static(markup=False, id="download-note")
        self._step = Step(markup=False, id="download-step")
        self._words = ""
        self._phase: Phase | None = None

    @property
    def state(self) -> DownloadState:
        """What it shows."""
        return self._gauge.progress[1]

    def compose(self) -> ComposeResult:
        """Two lines; a long note takes more."""
        yield self._gauge
        with Horizontal():
            yield self._note
            yield self._step
            yield Step(Content("hide"), markup=False, id="download-hide")

    def show(self, name: str, state: DownloadState) -> None:
        """Bring it up to date, without a layout unless the words change."""
        self._gauge.progress = (name, state)
        text = clean(words(state))
        if text != self._words:
            self._words = text
            self._note.update(Content(text))
        if state.phase is not self._phase:
            self._phase = state.phase
            self._step.update(Content(f"F6 {'pause' if state.phase in ACTIVE else STEPS[state.phase]}"))
            self.set_class(state.phase is Phase.FAILED, "-error")


def words(state: DownloadState) -> str:
    """What is going on."""
    if state.phase is Phase.CHECKING:
        share = 100 * state.checked // max(1, state.to_check)
        return f"{state.phase}: {share}% of {disk_size(state.to_check)} read"
    if state.phase is Phase.FAILED:
        return f"{state.phase}: {state.note}."
    return state.note or str(state.phase)


def figures(state: DownloadState) -> str:
    """Per cent, bytes, and while bytes come: speed and time left."""
    unit, size = ("GB", 1e9) if state.total >= 1e9 else ("MB", 1e6)
    parts = [f"{state.percent:3}%", f"{state.done / size:.1f} of {state.total / size:.1f} {unit}"]
    if state.phase is Phase.FETCHING:
        parts += pace(state)
    return "  ".join(parts)
