"""The commands about the clipboard, files, and documents beside the chat, as methods of the app."""

from pathlib import Path
from typing import TYPE_CHECKING

from textual import work
from textual.app import App

from app.lines import sentence
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.journal import Journal
from app.tui.parts.selection import Selection
from app.tui.parts.tools import Tools
from app.tui.terminal import clipboard
from mlx_model.errors import GptossError

if TYPE_CHECKING:  # loaded when somebody copies, exports or reads
    from app.tui.parts.reading import Reading
    from app.tui.parts.sharing import Sharing
    from app.tui.widgets.code_run import CodeRun
    from app.tui.widgets.markdown import MarkdownText
    from app.tui.widgets.messages import AnswerText
    from app.tui.widgets.reader import Reader


class FileActions(App[None]):
    """ChatApp makes the parts named here, except those that most chats never use."""

    desk: Desk
    journal: Journal
    conversations: ConversationKeeper
    selection: Selection
    tools: Tools
    _sharing: "Sharing | None" = None
    _reading: "Reading | None" = None

    @property
    def sharing(self) -> "Sharing":
        """Copies and exports the conversation, imports others."""
        if self._sharing is None:
            from app.tui.parts.sharing import Sharing

            self._sharing = Sharing(self.desk, self.journal, self.conversations, self.copy_to_clipboard)
        return self._sharing

    @property
    def reading(self) -> "Reading":
        """Has the document beside the chat."""
        if self._reading is None:
            from app.tui.parts.reading import Reading

            self._reading = Reading(self.desk, self.conversations, self.tools)
        return self._reading

    def fit_document(self, width: int) -> None:
        """The terminal has this many columns now."""
        if self._reading is not None and self._reading.is_open:
            self.run_worker(self._reading.fit(width), group="read")

    def action_copy(self, part: str = "") -> None:
        """Copy the last answer as Markdown, or another part of the conversation."""
        self.sharing.copy(part)

    @work(group="export")
    async def action_export(self, name: str = "") -> None:
        """Write the conversation to a file."""
        await self.sharing.export(name)

    @work(group="import")
    async def action_import(self, name: str = "") -> None:
        """Add the conversations of a file."""
        await self.sharing.import_(name)

    def copy_to_clipboard(self, text: str, what: str = "the selected text") -> None:
        """Copy, and report whether it worked; Textual's own copying, of what is selected, comes through here too."""
        self._copy(text, what)

    @work(group="copy")
    async def _copy(self, text: str, what: str) -> None:
        try:
            self.desk.notify(await clipboard.copy(text, what, super().copy_to_clipboard))
        except (GptossError, OSError) as error:
            self.desk.notify(sentence(str(error)), severity="error")

    def on_markdown_text_copy_wanted(self, event: "MarkdownText.CopyWanted") -> None:
        """A click on the `copy` of a code block."""
        self.copy_to_clipboard(event.text, event.what)

    def on_markdown_text_block_wanted(self, event: "MarkdownText.BlockWanted") -> None:
        """A click on another word above a code block."""
        self.selection.take_block(event)

    def on_code_run_asked(self, event: "CodeRun.Asked") -> None:
        """A click on the `ask` of an output."""
        self.selection.ask_about(event.kept)

    def action_copy_text(self, text: str) -> None:
        """Copy a text that stands for itself: a click on `copy path`."""
        self.copy_to_clipboard(text)

    def action_open_file(self, path: str) -> None:
        """Open a file that a tool has written: a click in its line."""
        self.selection.open_file(Path(path))

    @work(group="read", exclusive=True)
    async def action_read(self, name: str = "") -> None:
        """Read a document beside the chat; without a name close or open it."""
        from app.tui.parts.sharing import typed_path

        await self.reading.open(typed_path(name))

    @work(group="read", exclusive=True)
    async def on_answer_text_cited_wanted(self, event: "AnswerText.CitedWanted") -> None:
        """A click on what an answer cites."""
        await self.reading.jump(event.cited)

    def on_reader_asked(self, event: "Reader.Asked") -> None:
        """The next prompt is about what is marked."""
        self.reading.ask(event.place, is_whole=event.whole)

    def on_reader_closed(self) -> None:
        """Esc in the reader."""
        self.reading.close()
