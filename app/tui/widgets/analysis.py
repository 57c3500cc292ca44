"""The model's analysis: one line that says how long it thought, and the text under it while open."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message

from app.lines import counted, took
from app.tui.text.answer_parts import LIVE_TAIL, Part, State, last_sentence
from app.tui.text.pages import beginning
from app.tui.widgets.fold import Fold, FoldTitle
from app.tui.widgets.marked_text import MarkedText
from mlx_model.text import clean

OFFER = "^S answers now"
"""What stands behind a thought under way."""


class AnalysisTitle(FoldTitle):
    """The line to click."""

    def outcome_clicked(self) -> bool:
        """The offer is taken, if it is one."""
        offers = isinstance(self.parent, Analysis) and self.parent.part.state is State.GROWING
        if offers:
            self.post_message(Analysis.AnswerWanted())
        return offers


class Analysis(Fold):
    """Renders the text only while open, so that hidden thinking costs next to nothing.

    The first of an answer says what all of its thinking took. One that was closed while it grows says what is being
    thought about, unless it is `quiet`.
    """

    class AnswerWanted(Message):
        """A click on the offer to end the thought."""

    def __init__(self, part: Part, *, opened: bool, first: bool, quiet: bool) -> None:
        super().__init__(AnalysisTitle(), opened=opened)
        self.part = part
        self.quiet = quiet
        self._first = first
        self._seconds = 0.0
        self._tokens = 0
        self._figures: list[str] = []
        self._body = MarkedText(classes="analysis-text")

    def compose(self) -> ComposeResult:
        """The title, and the text under it."""
        yield self.title
        yield self._body

    def count(self, seconds: float, tokens: int) -> None:
        """How long the model has thought for the whole answer, and in how many tokens."""
        self._seconds, self._tokens = seconds, tokens
        self._say()

    def figure(self, figures: Sequence[str], explained: str) -> None:
        """Say at the end of the line what the answer took, as many of these figures as there is room for."""
        self._figures = list(figures)
        self.title.tooltip = Content(explained) if explained else None
        self._say()

    async def show(self, part: Part) -> None:
        """Show this part, which has grown or ended."""
        self.part = part
        self.refresh_fold()

    def mark(self, words: Sequence[str]) -> None:
        """Mark these words, which are folded, in what is shown while open; () marks none."""
        self._body.mark(words)

    def line_of_mark(self) -> int | None:
        """The line below the title's own of the first word that is marked; None without one, or while closed."""
        line = self._body.line_of_mark()
        return None if line is None else line + self._body.content_region.y - self.content_region.y

    def refresh_fold(self) -> None:
        """Bring the widgets in line with the state."""
        self._say()
        self._body.display = self.open
        if self.open:
            text = self.part.text
            tail = self.part.state is State.GROWING and len(text) > LIVE_TAIL
            self._body.show(clean(f"\u2026{text[-LIVE_TAIL:]}" if tail else beginning(text)).strip())

    def _say(self) -> None:
        growing = self.part.state is State.GROWING
        verb = "thinking" if growing else "thought"
        if not self._first:
            verb += " again"
        elif self._tokens:  # else nobody has counted: another program's answer
            verb += f" for {took(self._seconds)}, {counted(self._tokens, 'token')}"
        if growing and not self.open and not self.quiet and (subject := last_sentence(self.part.text)):
            verb += f": {clean(subject)}"
        shorter = (" \u00b7 ".join(self._figures[:count]) for count in range(len(self._figures), 0, -1))
        self.title.say(f"{self.arrow} {verb}", *([OFFER] if growing else shorter))
