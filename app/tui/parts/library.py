"""The commands of the sidebar: list, search, open, rename, delete, undo."""

from app.lines import sentence
from app.store.errors import StoreError
from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.journal import Journal
from app.tui.widgets.sidebar import SidebarEntry

WIDE = 100
"""From this many columns on the sidebar is open by default; in fewer it covers the chat while it is open."""


class Library:
    """Fills the sidebar from the journal, and carries out its commands."""

    def __init__(self, desk: Desk, journal: Journal, conversations: ConversationKeeper) -> None:
        self._desk = desk
        self._journal = journal
        self._conversations = conversations
        self._wide: bool | None = None
        self._typed: str | None = None  # what stood in the input when Enter was pressed here

    def fit(self, width: int) -> None:
        """The terminal has this many columns now; what the person toggled stays until it turns narrow or wide."""
        sidebar, wide = self._desk.sidebar, width >= WIDE
        sidebar.set_class(not wide, "-over")
        if wide is not self._wide:
            if not wide and sidebar.has_focus_within:
                self._desk.composer.focus()
            self._wide = sidebar.display = wide
            self._desk.run(self.refresh(), group="list", exclusive=True)

    def toggle(self) -> None:
        """Show the sidebar and go there, or hide it."""
        if self._desk.sidebar.display:
            self.hide()
        else:
            self._desk.sidebar.clear()
            self._desk.transcript.unmark()
            self._show()
            self._desk.sidebar.action_into_list()

    def hide(self) -> None:
        """Hide the sidebar."""
        self._desk.sidebar.display = False
        self._desk.focus(self._desk.composer)

    def leave(self) -> None:
        """Go back to the input; a sidebar that covers the chat closes."""
        if not self._wide:
            self._desk.sidebar.display = False
        self._desk.focus(self._desk.composer)

    def find(self) -> None:
        """Go to the search."""
        self._show()
        self._desk.sidebar.search()

    def choose(self) -> None:
        """Enter in the search or the list: what is typed behind it is for the input, and for the conversation that
        opens, though its words may have to be searched for first."""
        self._desk.sidebar.submit()
        self._typed = self._desk.composer.text
        self._desk.focus(self._desk.composer)

    def found_nothing(self) -> None:
        """Let the person change the search, if nothing was typed since."""
        if not self._typed_since():
            self._desk.focus(self._desk.sidebar.input)
        self._typed = None

    def _typed_since(self) -> str:
        before, text = self._typed, self._desk.composer.text
        return text.removeprefix(before) if before is not None and text.startswith(before) else ""

    def _show(self) -> None:
        self._desk.sidebar.display = True
        self._desk.run(self.refresh(), group="list", exclusive=True)

    async def refresh(self) -> None:
        """Bring the list up to date, unless it is hidden or shows search results."""
        sidebar = self._desk.sidebar
        if not sidebar.display or sidebar.searching:
            return
        try:
            summaries = await self._journal.summaries(limit=sidebar.wanted)
        except StoreError as error:
            sidebar.show_error(str(error))
        else:
            sidebar.show_conversations(summaries, self._conversations.conversation.id)

    async def search(self, text: str) -> None:
        """Show what a search finds; "" ends it."""
        if not text:
            self._desk.transcript.unmark()
            await self.refresh()
            return
        try:
            self._desk.sidebar.show_hits(await self._journal.search(text), text)
        except StoreError as error:
            self._desk.sidebar.show_error(str(error))

    async def open(self, entry: SidebarEntry) -> None:
        """Open a conversation; what is typed from now on goes to the input."""
        from app.store.search import words_of

        words = words_of(self._desk.sidebar.searching)
        self.leave()
        typed = self._typed_since() if entry.conversation != self._conversations.conversation.id else ""
        if typed:
            self._desk.composer.rewrite(self._desk.composer.text.removesuffix(typed))
        self._typed = None
        await self._conversations.open(entry.conversation, entry.node, entry.channel, words, typed=typed)
        await self.refresh()

    async def resume(self, draft: str) -> None:
        """Open the conversation that was last used, with what was typed meanwhile; the `draft` of the new chat stays
        with that."""
        try:
            latest = await self._journal.summaries(limit=1)
        except StoreError as error:
            self._desk.composer.put_back(draft)
            self._desk.notify(sentence(str(error)), severity="error")
            return
        if latest:
            await self._conversations.open(latest[0].id, left=draft)
            await self.refresh()
        else:
            self._desk.composer.put_back(draft)
            self._desk.warn("There is no conversation to continue yet.")

    def rename(self, title: str = "", entry: SidebarEntry | None = None) -> None:
        """Rename a conversation, by default the one on the screen; without a title, ask for one."""
        if (chosen := entry or self._current()) is None:
            return

        def renamed(title: str | None) -> None:
            if title:
                self._desk.run(self._rename(chosen.conversation, title), group="rename")

        if title:
            renamed(title)
        else:
            from app.tui.screens.line import LineScreen

            screen = LineScreen("Title of the conversation", "Enter renames, Esc cancels", chosen.title)
            self._desk.ask(screen, renamed)

    async def _rename(self, id: str, title: str) -> None:
        if id == self._conversations.conversation.id:
            await self._conversations.rename(title)
        else:
            await self._journal.rename(id, title)
            await self.refresh()

    def delete(self, entry: SidebarEntry | None = None) -> None:
        """Delete a conversation, by default the one on the screen."""
        if (chosen := entry or self._current()) is not None:
            self._desk.run(self._delete(chosen), group="open", exclusive=True)

    async def _delete(self, entry: SidebarEntry) -> None:
        desk = self._desk
        chosen_in_list = desk.sidebar.list.has_focus
        if entry.conversation == self._conversations.conversation.id:
            await self._conversations.new()
        await self._journal.delete(entry.conversation)
        await desk.saved()
        if chosen_in_list:  # where ^Z brings it back
            desk.sidebar.action_into_list()
        desk.notify(f'Deleted "{entry.title}". /undo restores it until you quit.')

    def _current(self) -> SidebarEntry | None:
        """The conversation on the screen; None, and a warning, if nothing has been asked in it."""
        conversation = self._conversations.conversation
        if conversation.nodes:
            return SidebarEntry(conversation.id, conversation.title)
        self._desk.warn("There is no conversation yet.")
        return None

    def undo(self) -> None:
        """Restore the conversation deleted last, and open it."""
        self._desk.run(self._undo(), group="open", exclusive=True)

    async def _undo(self) -> None:
        desk = self._desk
        if (id := await self._journal.restore()) is None:
            desk.warn("There is nothing to undo.")
        else:
            desk.clear_notifications()  # one of them may still say that it is deleted
            await self._conversations.open(id)
            await desk.saved()
