"""A tool call: one line that names it, what the tool writes while it runs, and while open what was asked and came."""

import asyncio
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from app.tui.text.answer_parts import Part
from app.tui.text.call_text import CallText, describe
from app.tui.widgets.call_files import CallFiles
from app.tui.widgets.fold import Fold, FoldTitle
from app.tui.widgets.live_container import LiveContainer
from app.tui.widgets.markdown import MarkdownText


class CallTitle(FoldTitle):
    """The line to click."""


class CallView(Fold, LiveContainer):
    """Lays out the details only while open."""

    def __init__(
        self, part: Part, *, opened: bool = False, title: FoldTitle | None = None, body: MarkdownText | None = None
    ) -> None:
        super().__init__(title or CallTitle(), opened=opened)
        self.part = part
        self._text = self.describe(part)
        self._live: Static | None = None
        self._files: CallFiles | None = None
        self._body = body or MarkdownText()
        self._filling = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """The title, and the details under it."""
        yield self.title
        if (files := self._new_files()) is not None:
            yield files
        yield self._body

    async def show(self, part: Part) -> None:
        """Show this part, which has grown, ended, or got its result."""
        self.part, self._text = part, self.describe(part)
        self._say()
        await self._show_live()
        if (files := self._new_files()) is not None:
            await self.mount(files, before=self._body)
        await self._fill()

    def describe(self, part: Part) -> CallText:
        """What to show of the part."""
        return describe(part)

    def _new_files(self) -> CallFiles | None:
        """The files that the call has written, if they have yet to be shown."""
        paths = [path for facts in self.part.facts for path in facts.files]
        if not paths or self._files is not None:
            return None
        self._files = CallFiles(paths)
        self.add_class("-files")
        return self._files

    async def _show_live(self) -> None:
        """The last lines that the tool has written, for as long as it runs."""
        live, text = self._live, self._text.live
        if not text:
            if live is not None:
                self._live = None
                await live.remove()
        elif live is None:
            self._live = Static(Content(text), markup=False, classes="live")
            await self.mount(self._live, after=self.title)
        else:
            live.update(Content(text))

    def mark(self, words: Sequence[str]) -> None:
        """Mark these words, which are folded, in the details; () marks none."""
        self._body.mark(words)

    def line_of_mark(self) -> int | None:
        """The line below the title's own of the first word that is marked; None without one, or while closed."""
        line = self._body.line_of_mark() if self.open else None
        return None if line is None else line + self._body.content_region.y - self.content_region.y

    def refresh_fold(self) -> None:
        """Bring the widgets in line with the state."""
        self._say()
        self._body.display = self.open
        self.call_after_refresh(self._fill)  # in a thread, for which the width must be known

    def _say(self) -> None:
        self.set_class(self._text.failed, "-failed")
        self.title.say(f"{self.arrow} {self._text.line}", *filter(None, [self._text.reason, self._text.outcome]))

    async def _fill(self) -> None:
        async with self._filling:  # a click may come between
            if self.open and self._body.source != self._text.details:
                await self._body.replace(self._text.details)
