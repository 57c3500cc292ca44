"""Reads a document beside the chat, or over it where that is narrow, and asks about what is marked in it."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.chat.conversation import files_of
from app.documents.attachments import Attachment, AttachmentError, AttachmentLocked
from app.documents.cited_pages import pages_in
from app.documents.files import document_at, document_of, meant, whole
from app.documents.notes import as_read
from app.documents.selection import SOURCE, WHOLE, Selection, SelectionError, divide, select
from app.lines import one_line, sentence
from app.settings import load
from app.tools.web_documents import address_of, fetch
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.tools import Tools
from app.tui.text.reading_place import ReadingPlace, Target, go_to_target
from mlx_model.documents.document import Document
from mlx_model.errors import RequestError
from mlx_model.tokens import about_tokens

if TYPE_CHECKING:
    from app.documents.citations import Cited
    from app.tui.screens.reader import ReaderScreen
    from app.tui.widgets.reader import Reader

BESIDE = 100
"""Columns from which on the document is beside the chat."""
BESIDE_THREE = 140
"""And from which on the list of conversations stays there, too."""
USAGE = "/read FILE opens a document beside the chat; also /read arxiv:2508.10925, or a URL."
NEEDS_BROWSER = "That is on the web: switch the browser on first, /tools browser."
_SPARE = 2000
"""Tokens that a whole document leaves for question and answer."""


class Reading:
    """Has the document that is read, as long as the chat runs; a Reader shows it."""

    def __init__(self, desk: Desk, conversations: ConversationKeeper, tools: Tools) -> None:
        self._desk = desk
        self._conversations = conversations
        self._tools = tools
        self._place: ReadingPlace | None = None
        self._beside: Reader | None = None
        self._over: ReaderScreen | None = None

    @property
    def is_open(self) -> bool:
        """Whether a document is on the screen."""
        return self._over is not None or (self._beside is not None and self._beside.display)

    async def open(self, name: str, password: str | None = None) -> None:
        """Open what a person means by `name`; without one close what is open, or open again what was read last."""
        if not name:
            await self._toggle()
            return
        try:
            if (address := address_of(name)) is None:
                place = await asyncio.to_thread(_of_file, name, self._desk.composer.folder, password)
            elif "browser" not in self._tools.names_of(self._conversations.conversation.id):
                self._desk.warn(NEEDS_BROWSER)
                return
            else:
                self._desk.notify(f"Fetching {one_line(address[0])}", timeout=60)
                data = await fetch(address[0], load().browser)
                self._desk.clear_notifications()
                place = await asyncio.to_thread(_of_data, data, address[1], password)
        except AttachmentLocked as error:
            self._ask_password(str(error), name)
        except (AttachmentError, RequestError) as error:
            self._desk.notify(sentence(str(error)), severity="error")
        else:
            await self._show(place)

    async def _toggle(self) -> None:
        files = files_of(self._conversations.conversation.path)
        if self.is_open:
            self.close()
        elif self._place is not None:
            await self._show(self._place)
        elif files:
            await self._show(await asyncio.to_thread(_of_attachment, files[-1], self._desk.composer.folder))
        else:
            self._desk.notify(USAGE)

    def _ask_password(self, reason: str, name: str) -> None:
        from app.tui.screens.line import LineScreen

        def answered(password: str | None) -> None:
            if password:
                self._desk.run(self.open(name, password), group="read")

        self._desk.ask(LineScreen(reason, "Enter opens it, Esc leaves it closed", is_secret=True), answered)

    async def jump(self, cited: "Cited") -> None:
        """Show what an answer cites: in the file as it is now, or if that is gone, in the text that the model read."""
        place = self._place
        if place is None or place.name != _file_of(cited.attachment):
            place = await asyncio.to_thread(_of_attachment, cited.attachment, self._desk.composer.folder)
        label = pages_in(cited.attachment)[cited.page].label
        labels = [page.label for page in place.lines.pages]
        target = Target(labels.index(label) if label in labels else 0, cited.lines, cited.quote)
        await asyncio.to_thread(go_to_target, place, target)
        await self._show(place)

    async def _show(self, place: ReadingPlace) -> None:
        """Put it on the screen, beside the chat or over it, and let keys go there."""
        self._place = place
        width = self._desk.width
        if width < BESIDE:
            await self._show_over(place)
            return
        from app.tui.widgets.reader import Reader

        if width < BESIDE_THREE:
            self._desk.sidebar.display = False
        if self._beside is None:
            self._beside = Reader(place)
            await self._desk.beside(self._beside)
            self._desk.reader = self._beside.text
        else:
            self._beside.display = True
            self._beside.show(place)
        self._desk.focus(self._beside.text)

    async def _show_over(self, place: ReadingPlace) -> None:
        from app.tui.screens.reader import ReaderScreen

        if self._over is not None:
            self._over.reader.show(place)
            return
        self._over = ReaderScreen(place)
        self._desk.ask(self._over, lambda _: None)

    def close(self) -> None:
        """Take it off the screen; the document stays at hand."""
        if self._beside is not None:
            self._beside.display = False
        if self._over is not None:
            self._over.dismiss()
            self._over = None
        self._desk.focus(self._desk.composer)

    async def fit(self, width: int) -> None:
        """The terminal has this many columns now."""
        if self._place is not None and self.is_open and (self._over is None) is (width < BESIDE):
            self.close()
            await self._show(self._place)

    def ask(self, place: ReadingPlace, *, is_whole: bool) -> None:
        """Let the next prompt be about what is marked.

        The document goes before it, if it has not gone into the conversation yet and there is room: so the model knows
        what the lines stand in, and further questions begin with the same tokens.
        """
        attached = self._desk.composer.attached
        known = {each.name for each in (*files_of(self._conversations.conversation.path), *attached.attachments)}
        document = place.whole
        if document is not None and place.name not in known and (is_whole or self._has_room(document)):
            attached.add(document)
        if not is_whole:
            attached.add(place.attachment())
        if self._over is not None:
            self.close()
        self._desk.focus(self._desk.composer)

    def _has_room(self, document: Attachment) -> bool:
        status = self._desk.status
        return not status.limit or about_tokens(document.text) + status.used + _SPARE <= status.limit


def _of_file(name: str, folder: Path, password: str | None) -> ReadingPlace:
    """A file, at the part that is meant. Raises AttachmentError."""
    path, selection = meant(name, folder)
    base = one_line(name if selection == WHOLE else name[: -len(_part(name))])
    document = document_at(path, base, password=password)
    place = _place(base, document)
    if selection not in (WHOLE, Selection(section=SOURCE)):
        with suppress(SelectionError):  # the document is there in any case
            first = select(document, selection)[0][0]
            if document.has_pages or selection.section:
                index = [page.number for page in document.pages].index(first.number)
                quote = "" if selection.pages else first.text.split("\n", 1)[0]
                go_to_target(place, Target(index, quote=quote))
            else:
                place.go_to_page(first.number)
    return place


def _part(name: str) -> str:
    """What stands behind the name of the file."""
    parts = divide(name)
    return name[len(parts[0]) :] if parts else ""


def _of_data(data: bytes, name: str, password: str | None) -> ReadingPlace:
    return _place(name, document_of(data, name, password))


def _of_attachment(attachment: Attachment, folder: Path) -> ReadingPlace:
    """The file of an attachment; if it isn't there any more, its text."""
    name = _file_of(attachment)
    try:
        return _place(name, document_at(meant(name, folder)[0], name))
    except AttachmentError:
        attachment = as_read(attachment)
        pages = pages_in(attachment)
        unit = pages[0].label.split(" ")[0] or "line"
        return ReadingPlace(name, Document(pages, unit, len(pages)), attachment)


def _file_of(attachment: Attachment) -> str:
    part = _part(attachment.name)
    return attachment.name.removesuffix(part) if part else attachment.name


def _place(name: str, document: Document) -> ReadingPlace:
    try:
        return ReadingPlace(name, document, whole(document, name))
    except AttachmentError:
        return ReadingPlace(name, document, None)
