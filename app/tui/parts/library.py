"""The commands of the sidebar: list, search, open, rename, delete, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.tui.screens.rename import RenameScreen
from app.tui.widgets.sidebar import Place

if TYPE_CHECKING:
    from app.tui.app import ChatApp

WIDE = 100
"""Columns from which on the sidebar is there by itself; in fewer it lies over the chat while it is open."""


class Library:
    """Fills the sidebar from the journal, and does what is asked for there."""

    def __init__(self, app: ChatApp) -> None:
        self._app = app
        self._wide: bool | None = None

    def fit(self, width: int) -> None:
        """The terminal has this many columns now; what the person has toggled stays while it is wide, or narrow."""
        sidebar, wide = self._app.sidebar, width >= WIDE
        sidebar.set_class(not wide, "-over")
        if wide is not self._wide:
            if not wide and sidebar.has_focus_within:
                self._app.composer.focus()
            self._wide = sidebar.display = wide
            self._app.run_worker(self.refresh(), group="list", exclusive=True)

    def toggle(self) -> None:
        """Show the sidebar and go there, or hide it."""
        if self._app.sidebar.display:
            self.hide()
        else:
            self._app.sidebar.clear()
            self._show()
            self._app.sidebar.action_into_list()

    def hide(self) -> None:
        """Hide the sidebar."""
        self._app.sidebar.display = False
        self._app.set_focus(self._app.composer)

    def leave(self) -> None:
        """Back to the input; a sidebar that lies over the chat goes away."""
        if not self._wide:
            self._app.sidebar.display = False
        self._app.set_focus(self._app.composer)

    def find(self) -> None:
        """Go to the search."""
        self._show()
        self._app.sidebar.search()

    def _show(self) -> None:
        self._app.sidebar.display = True
        self._app.run_worker(self.refresh(), group="list", exclusive=True)

    async def refresh(self) -> None:
        """Bring the list up to date, unless it isn't in sight or shows what a search has found."""
        app = self._app
        if app.sidebar.display and not app.sidebar.searching:
            app.sidebar.show_conversations(await app.journal.summaries(), app.conversation.id)

    async def search(self, text: str) -> None:
        """Show what a search finds; "" ends it."""
        if text:
            self._app.sidebar.show_hits(await self._app.journal.search(text))
        else:
            await self.refresh()

    async def open(self, place: Place) -> None:
        """Open a conversation; what is typed from now on goes to the input."""
        self.leave()
        await self._app.chat.open(place.conversation, place.node, place.channel)
        await self.refresh()

    def rename(self, title: str = "", place: Place | None = None) -> None:
        """Rename a conversation, by default the one on the screen; without a title, ask for one."""
        app = self._app
        if place is None:
            if not app.conversation.nodes:
                app.warn("There is no conversation yet.")
                return
            place = Place(app.conversation.id, app.conversation.title)

        def renamed(title: str | None) -> None:
            if title:
                app.run_worker(self._rename(place.conversation, title), group="rename")

        if title:
            renamed(title)
        else:
            app.push_screen(RenameScreen(place.title), renamed)

    async def _rename(self, id: str, title: str) -> None:
        app = self._app
        if id == app.conversation.id:
            await app.chat.rename(title)
        else:
            await app.journal.rename(id, title)
            await self.refresh()

    def delete(self, place: Place | None = None) -> None:
        """Delete a conversation, by default the one on the screen."""
        app = self._app
        if place is None:
            if not app.conversation.nodes:
                app.warn("There is no conversation yet.")
                return
            place = Place(app.conversation.id, app.conversation.title)
        app.run_worker(self._delete(place), group="open", exclusive=True)

    async def _delete(self, place: Place) -> None:
        app = self._app
        chosen_in_list = app.sidebar.list.has_focus
        if place.conversation == app.conversation.id:
            await app.chat.new()
        await app.journal.delete(place.conversation)
        await app.saved()
        if chosen_in_list:  # where ^Z brings it back
            app.sidebar.action_into_list()
        app.notify(f'Deleted "{place.title}". /undo brings it back, until you quit.', markup=False)

    def undo(self) -> None:
        """Bring back what was deleted last, and open it."""
        self._app.run_worker(self._undo(), group="open", exclusive=True)

    async def _undo(self) -> None:
        app = self._app
        if (id := await app.journal.restore()) is None:
            app.warn("There is nothing to undo.")
        else:
            app.clear_notifications()  # one of them may still say that it is deleted
            await app.chat.open(id)
            await app.saved()
