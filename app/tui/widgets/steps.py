"""Many calls of an answer in one line, under which the calls and the thoughts between them are while it is open."""

from collections import Counter
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widget import Widget

from app.lines import counted, one_line
from app.tui.text.answer_parts import Kind, Part
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.calls import CallView
from app.tui.widgets.fold import Fold, FoldTitle

MOST_LINES = 3
"""Calls that are shown each in a line of its own; of more, these are the last while the answer goes on."""


class StepsTitle(FoldTitle):
    """The line to click."""


class Steps(Fold):
    """Covers views while closed; they stand below it."""

    def __init__(self) -> None:
        super().__init__(StepsTitle(), opened=False)
        self.covered: list[Analysis | CallView] = []

    def compose(self) -> ComposeResult:
        """The line alone."""
        yield self.title

    def cover(self, views: Sequence[Analysis | CallView]) -> None:
        """Cover these, and no others."""
        if list(views) != self.covered:
            for view in self.covered:
                view.display = True
            self.covered = list(views)
            self.refresh_fold()

    def refresh_fold(self) -> None:
        """Bring the widgets in line with the state."""
        for view in self.covered:
            view.display = self.open
        self.title.say(f"{self.arrow} {summed_up([view.part for view in self.covered])}")


def to_cover(views: Sequence[Widget], *, ended: bool) -> list[Analysis | CallView]:
    """Which views of an answer's parts Steps are to cover: thoughts and calls that have ended, up to the last few
    calls, or once the answer has `ended` all, if there are many. A call that has written files stays in sight, and so
    does the first thought, whose line has the figures of the answer."""
    done = [i for i, view in enumerate(views) if isinstance(view, CallView) and view.part.results]
    if len(done) <= MOST_LINES:
        return []
    end = done[-1] + 1 if ended else done[-MOST_LINES]
    first = next((view for view in views if isinstance(view, Analysis)), None)
    steps = [view for view in views[:end] if isinstance(view, Analysis | CallView) and view is not first]
    return [view for view in steps if not any(facts.files for facts in view.part.facts)]


def summed_up(parts: Sequence[Part]) -> str:
    """So many calls, and of which tools: "14 calls: 9 open, 5 search · 31 s"."""
    calls = [part for part in parts if part.kind is Kind.CALL]
    names = Counter(_name(part) for part in calls)
    each = ", ".join(f"{count} {name}" for name, count in names.most_common())
    seconds = sum(facts.seconds for part in calls for facts in part.facts)
    return f"{counted(len(calls), 'call')}: {each}" + (f" \u00b7 {seconds:.0f} s" if seconds >= 1 else "")


def _name(part: Part) -> str:
    """The tool's name without its namespace."""
    name = (part.call.recipient if part.call else part.messages[0].name) or "a tool"
    return one_line(name.rpartition(".")[2])
