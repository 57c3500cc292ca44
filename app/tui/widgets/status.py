"""The lines around the conversation: model and context above, the effort switch below."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from mlx_model.harmony.message import Effort
from mlx_model.text import clean

WARN_AT = 0.8
"""Share of the context from which on its line warns."""
BAR, GAP = 10, 2
"""Columns of the bar, and between the two texts."""
DEAD = ("stopped", "no model")
"""States of an engine that can't be asked."""


class StatusLine(Horizontal):
    """Model, what the engine does, live speed; on the right the context in use. Outside the scrolling part."""

    model: reactive[str] = reactive("")
    state: reactive[str] = reactive("starting")
    speed: reactive[str] = reactive("")
    used: reactive[int] = reactive(0)
    limit: reactive[int] = reactive(0)
    saves: reactive[bool] = reactive(True)

    def __init__(self) -> None:
        super().__init__()
        self._left = Static(markup=False, id="engine")
        self._right = Static(markup=False, id="context")
        self._context_shown = ""

    def compose(self) -> ComposeResult:
        """Two texts."""
        yield self._left
        yield self._right

    def on_mount(self) -> None:
        """Show the state of the start."""
        self._bring_up_to_date()

    def on_resize(self) -> None:
        """There is more, or less, space."""
        self._bring_up_to_date()

    def watch_model(self) -> None:
        """Show it."""
        self._bring_up_to_date()

    def watch_state(self) -> None:
        """Show it."""
        self._bring_up_to_date()

    def watch_speed(self) -> None:
        """Show it."""
        self._bring_up_to_date()

    def watch_saves(self) -> None:
        """Show it."""
        self._bring_up_to_date()

    def watch_used(self) -> None:
        """Show it."""
        self._bring_up_to_date()

    def watch_limit(self) -> None:
        """Show it."""
        self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        unsaved = "" if self.saves else "not saved"
        parts = [clean(part) for part in (unsaved, self.model, self.state, self.speed) if part]
        engine = Content(" \u00b7 ".join(parts))
        self._left.update(engine)
        self.set_class(self.state in DEAD or not self.saves, "-error")
        context = self._context_in(self.content_size.width - engine.cell_length - GAP)
        if context != self._context_shown:  # its width is the layout's affair, and the speed changes often
            self._context_shown = context
            self._right.update(Content(context))

    def _context_in(self, width: int) -> str:
        """The context in use, in so many columns if that is possible: first the bar goes, then the limit."""
        if not self.limit:
            return ""
        share = min(1.0, self.used / self.limit)
        self.set_class(share >= WARN_AT, "-warning")
        bar = "\u2588" * round(share * BAR) + "\u2591" * (BAR - round(share * BAR))
        used = f"context {self.used:,}"
        shortest = f"{share:.0%}"
        forms = (
            f"{used} / {self.limit:,}  {bar} {share:.0%}",
            f"{used} / {self.limit:,}  {share:.0%}",
            f"{used}  {share:.0%}",
        )
        return next((form for form in forms if len(form) <= width), shortest)


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

    def compose(self) -> ComposeResult:
        """The three choices, with space on the left for a hint."""
        yield Static(markup=False, id="hint")
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
        """Show a short hint on the left."""
        self.query_one("#hint", Static).update(Content(text))
