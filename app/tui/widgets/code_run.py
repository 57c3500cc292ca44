"""What came of a code block that the person has run: it stands below that block."""

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.style import Style

from app.chat.conversation import BlockRun
from app.tui.text.answer_parts import Kind, Part, Running
from app.tui.text.call_text import CallText, describe_run, is_long
from app.tui.text.looks import SECONDARY
from app.tui.widgets.calls import CallTitle, CallView
from app.tui.widgets.fold import GAP
from app.tui.widgets.markdown import MarkdownText
from mlx_model.harmony.message import assistant
from mlx_model.text import clean

ASK, COPY = "ask", "copy"
_HELP = {
    ASK: "Ask about this output: it goes into your message as a quote; keys: Shift+Tab, then a",
    COPY: "Copy this output",
}
_WORD = "output_word"
LEAST = 24
"""Columns that the rest of the line keeps beside what can be clicked."""


class RunTitle(CallTitle):
    """The line to click, which ends in what can be done with the output."""

    def __init__(self) -> None:
        super().__init__()
        self.with_words = False

    def render(self) -> Content:
        """The line, and as many words as there is room for, the first of them first."""
        width, words = self.content_size.width, Content()
        for word in (ASK, COPY) if self.with_words else ():
            longer = Content(" " * GAP).join([*([words] if words else []), _clicked(word)])
            if longer.cell_length + GAP + LEAST <= width:
                words = longer
        if not words:
            return self.line(width)
        line = self.line(width - words.cell_length - GAP)
        return Content(" " * (width - words.cell_length - line.cell_length)).join([line, words])

    def on_click(self, event: events.Click) -> None:
        """A word: the line itself then neither opens nor closes."""
        word = event.style.meta.get(_WORD)
        if word is not None and isinstance(self.parent, CodeRun):
            event.stop()
            event.prevent_default()
            self.parent.act(word)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say what a click here does."""
        self.tooltip = _HELP.get(event.style.meta.get(_WORD, ""))


class CodeRun(CallView):
    """One that is `running` shows how that goes, one that has ended what it has written."""

    @dataclass
    class Asked(Message):
        """The next message is about this output."""

        kept: BlockRun

    def __init__(self, kept: BlockRun, running: Running | None = None) -> None:
        self.kept, self.running = kept, running
        super().__init__(_part(kept), opened=not is_long(kept), title=RunTitle(), body=MarkdownText(words=None))

    async def update_run(self, kept: BlockRun, running: Running | None) -> None:
        """Show how it goes, or what came of it."""
        if (kept, running) == (self.kept, self.running):
            return
        ends = self.running is not None and running is None
        self.kept, self.running = kept, running
        if ends or running is not None:
            self._open = running is not None or not is_long(kept)
            self.set_class(self._open, "-open")
        await self.show(_part(kept))
        self._body.display = self._open and bool(self._text.details)

    def describe(self, part: Part) -> CallText:
        """See CallView."""
        return describe_run(self.kept, self.running, opened=self.open)

    def refresh_fold(self) -> None:
        """Bring the widgets in line with the state: closed it shows some lines."""
        self._text = self.describe(self.part)
        super().refresh_fold()
        self._body.display = self._open and bool(self._text.details)
        self.call_after_refresh(self._show_live)

    def act(self, word: str) -> None:
        """Do what a word of the title says."""
        if word == ASK:
            self.post_message(self.Asked(self.kept))
        else:
            self.post_message(MarkdownText.CopyWanted(clean(self.kept.output), "the output"))

    def _say(self) -> None:
        if isinstance(self.title, RunTitle):
            self.title.with_words = bool(self.kept.output) and self.running is None
            self.title.refresh()
        super()._say()


def _part(kept: BlockRun) -> Part:
    return Part(Kind.CALL, (assistant(""),), facts=(kept.facts,) if kept.facts else ())


def _clicked(word: str) -> Content:
    return Content(word).stylize(f"{SECONDARY} underline").stylize(Style.from_meta({_WORD: word}))
