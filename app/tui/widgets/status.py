"""The lines around the conversation: what goes on, memory and context above; a hint and the effort switch below."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from app.tui.text.progress import Progress
from app.tui.text.status_line import GAP, StatusFigures, fitted
from mlx_model.harmony.message import Effort

WARN_AT = 0.8
"""Share of the context from which on its line warns."""
READY = "ready"
"""The state of an engine that waits to be asked."""
DEAD = ("stopped", "no model")
"""States of an engine that can't be asked."""
RUNNING, ASKING = "running a tool", "waiting for you"
"""States of an answer that goes on once a tool, or the person, has answered."""


class StatusLine(Widget):
    """Model, what the engine does, live speed; on the right the context in use. Changes without a layout.

    The fields are those of StatusFigures, which says what they are. `circling` isn't shown here: it says whether the
    thought under way repeats itself.
    """

    model: reactive[str] = reactive("")
    memory: reactive[int] = reactive(0)
    budget: reactive[int] = reactive(0)
    state: reactive[str] = reactive("starting")
    speed: reactive[float] = reactive(0.0)
    ttft: reactive[float] = reactive(0.0)
    progress: reactive[Progress | None] = reactive(None)
    used: reactive[int] = reactive(0)
    limit: reactive[int] = reactive(0)
    estimated: reactive[bool] = reactive(False)
    saves: reactive[bool] = reactive(True)
    slots: reactive[int] = reactive(0)
    experts: reactive[int] = reactive(0)
    circling: reactive[bool] = reactive(False)

    @property
    def figures(self) -> StatusFigures:
        """What it shows."""
        return StatusFigures(
            *(self.model, self.memory, self.budget, self.state, self.speed, self.ttft),
            *(self.progress, self.used, self.limit, self.estimated, self.saves),
            slots=self.slots,
            experts=self.experts,
        )

    @property
    def nearly_full(self) -> bool:
        """Whether the context soon has no room for another turn."""
        return self.figures.share >= WARN_AT

    def render(self) -> Content:
        """The line, as wide as there is space."""
        figures = self.figures
        engine, context = (Content(text) for text in fitted(figures, self.size.width))
        if self.state in DEAD or not self.saves:
            engine = engine.stylize("$error")
        if self.nearly_full:
            context = context.stylize("$warning")
        left = max(0, self.size.width - context.cell_length)
        engine = engine.truncate(max(0, left - GAP), ellipsis=True)
        return Content.assemble(engine, " " * (left - engine.cell_length), context)


class EffortChoice(Static):
    """One of the three."""

    def __init__(self, effort: Effort) -> None:
        super().__init__(Content(effort.value), markup=False, id=f"effort-{effort.value}")
        self.effort = effort

    def on_click(self) -> None:
        """Choose it."""
        self.post_message(EffortSwitch.Chosen(self.effort))


class EffortSwitch(Horizontal):
    """Low, medium, high: shows which one the next answer gets, and takes clicks."""

    class Chosen(Message):
        """A click on one of them."""

        def __init__(self, effort: Effort) -> None:
            super().__init__()
            self.effort = effort

    effort: reactive[Effort] = reactive(Effort.MEDIUM)

    def __init__(self) -> None:
        super().__init__()
        self._hint = Static(markup=False, id="hint")
        self._hint_text, self._message = "", Content()

    def compose(self) -> ComposeResult:
        """The three choices, with space on the left for a hint."""
        yield self._hint
        yield Static(Content("effort "), markup=False, id="effort-label")
        for effort in Effort:
            yield EffortChoice(effort)

    def watch_effort(self, effort: Effort) -> None:
        """Mark the chosen one, by more than colour."""
        for choice in self.query(EffortChoice):
            chosen = choice.effort is effort
            choice.set_class(chosen, "-chosen")
            choice.update(Content(f"[{choice.effort.value}]" if chosen else f" {choice.effort.value} "))

    def on_mount(self) -> None:
        """Mark the first one."""
        self.watch_effort(self.effort)

    def hint(self, text: str) -> None:
        """Show a short hint on the left; the same again costs no layout."""
        self._hint_text = text
        self._show()

    @property
    def room(self) -> int:
        """Columns on the left."""
        return self._hint.size.width

    def say(self, message: Content, severity: str) -> None:
        """Show a message of "information", "warning" or "error" in place of the hint; an empty one: the hint again."""
        self._message = message
        for name in ("information", "warning", "error"):
            self._hint.set_class(bool(message) and name == severity, f"-{name}")
        self._show()

    def _show(self) -> None:
        if self._hint.content != (content := self._message or Content(self._hint_text)):
            self._hint.update(content)
