"""Notes on a document that is read by parts: one line that says how far, and the notes under it while open."""

from textual.app import ComposeResult
from textual.containers import Vertical

from app.documents.notes import Notes, all_notes
from app.lines import counted, one_line
from app.tui.text.answer_parts import LIVE_TAIL
from app.tui.text.pages import beginning
from app.tui.widgets.fitting_line import FittingLine
from app.tui.widgets.fold import Fold, FoldTitle
from app.tui.widgets.live_container import LiveContainer
from app.tui.widgets.marked_text import MarkedText
from mlx_model.text import clean

OFFER = "^S answers from them"


class NotesView(Fold):
    """Below the prompt that has the notes. `text` is what is being noted now."""

    def __init__(self, notes: Notes, *, is_growing: bool = False) -> None:
        super().__init__(FoldTitle(), opened=is_growing)
        self._notes, self._text, self._is_growing = notes, "", is_growing
        self._body = MarkedText(classes="analysis-text")

    def compose(self) -> ComposeResult:
        """The title, and the notes under it."""
        yield self.title
        yield self._body

    def show(self, notes: Notes, text: str) -> None:
        """There is more."""
        self._notes, self._text = notes, text
        self.refresh_fold()

    def refresh_fold(self) -> None:
        """Bring the widgets in line with the state."""
        self.title.say(
            f"{self.arrow} {summary(self._notes)}", *([OFFER] if self._is_growing and self._notes.done else [])
        )
        self._body.display = self.open
        if self.open:
            text = "\n\n".join(filter(None, (self._notes.attachment.text, self._text)))
            shown = text[-LIVE_TAIL:] if self._is_growing else beginning(text)
            self._body.show(clean(shown).strip())


class ReadingView(Vertical, LiveContainer):
    """What a reading brings, in place of an answer."""

    def __init__(self, prompt: str) -> None:
        super().__init__()
        self._views = {notes.name: NotesView(notes, is_growing=True) for notes in all_notes(prompt)}
        self._line = FittingLine(classes="footer")

    def compose(self) -> ComposeResult:
        """Notes on each document, and what goes on."""
        yield from self._views.values()
        yield self._line

    def wait(self, text: str) -> None:
        """Say what goes on."""
        self._line.forms = (clean(text),)

    def show(self, prompt: str, text: str) -> None:
        """There is more; `text` belongs to the first that is not read to its end."""
        for notes in all_notes(prompt):
            if notes.name in self._views:
                self._views[notes.name].show(notes, "" if notes.is_over else text)
                text = text if notes.is_over else ""


def summary(notes: Notes) -> str:
    """How far, and what it took."""
    name = one_line(notes.name.removesuffix("*"))
    if not notes.parts:
        return f"{name}: to be read by parts"
    done = "all" if notes.is_over else f"{notes.done:,} of"
    took = f", {notes.read:,} tokens read, {notes.written:,} written" if notes.read else ""
    return f"notes on {done} {counted(notes.parts, 'part')} of {name}{took}"
