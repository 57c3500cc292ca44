"""The conversations beside the chat, by day, and the search over all of them."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from app.lines import one_line, sentence
from app.store.search import SearchHit
from app.store.store import Summary
from app.tui.text.days import day_of
from app.tui.text.key_help import KeyHelp

PAUSE_S = 0.15
"""How long typing must rest before the search begins."""
PAGE = 100
"""The list has so many conversations, and as many more whenever its end is in sight."""
IN_SIGHT = 10
"""Rows below the highlighted one, or below the lowest on the screen."""


@dataclass(frozen=True, slots=True)
class SidebarEntry:
    """What a row leads to: a conversation, and in it the node where a search has found something."""

    conversation: str
    title: str
    node: str | None = None
    channel: str | None = None


Row = tuple[Content, SidebarEntry | None]


def _option(text: Content, entry: SidebarEntry | None) -> Option:
    return Option(text, disabled=entry is None)


class ConversationList(OptionList):
    """One line each; the headings of the days can't be chosen."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The list of conversations",
        (
            ("Up, Down, Enter", "choose and open"),
            ("F2", "rename"),
            ("Del, then ^Z", "delete, and restore"),
            ("/", "search"),
            ("Esc", "back to the message"),
        ),
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "rename", "Rename", show=False),
        Binding("delete", "delete", "Delete", show=False),
        Binding("ctrl+z", "app.undo", "Undo", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self.entries: list[SidebarEntry | None] = []
        self._rows: Sequence[Row] = ()

    @property
    def entry(self) -> SidebarEntry | None:
        """What is highlighted."""
        return self.entries[self.highlighted] if self.highlighted is not None else None

    def fill(self, rows: Sequence[Row], *highlights: tuple[str, str | None]) -> None:
        """Show rows; those without an entry are headings.

        Highlights the first of `highlights` (a conversation, and in it a node or None) that is there, else the first.
        """
        before, self._rows, self.entries = self._rows, rows, [entry for _, entry in rows]
        if rows[: len(before)] == before:  # what is there stays: a list may be long
            self.add_options([_option(*row) for row in rows[len(before) :]])
        else:
            self.set_options([_option(*row) for row in rows])
        at = {(entry.conversation, entry.node): row for row, entry in enumerate(self.entries) if entry is not None}
        self.highlighted = next((at[key] for key in highlights if key in at), min(at.values(), default=None))

    def action_page_up(self) -> None:
        """A page up; nothing before the list is laid out, where Textual 8.2 fails."""
        with suppress(KeyError, IndexError):
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        """A page down."""
        with suppress(KeyError, IndexError):
            super().action_page_down()  # type: ignore[no-untyped-call]

    def action_rename(self) -> None:
        """Ask for another title of what is highlighted."""
        if self.entry is not None:
            self.post_message(Sidebar.RenameRequested(self.entry))

    def action_delete(self) -> None:
        """Delete what is highlighted."""
        if self.entry is not None:
            self.post_message(Sidebar.DeleteRequested(self.entry))


class SearchInput(Input):
    """The line for the words to search for."""

    KEY_HELP: ClassVar[KeyHelp] = KeyHelp(
        "The search",
        (
            ("a few words", "search all conversations"),
            ("Enter, Down", "go to the results"),
            ("Esc", "end the search, then back to the message"),
        ),
    )


class Sidebar(Vertical):
    """Search above, list below. Knows nothing of the store: it is filled from outside."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", show=False),
        Binding("down", "into_list", "List", show=False),
    ]

    @dataclass
    class Opened(Message):
        """The person has chosen a conversation."""

        entry: SidebarEntry

    @dataclass
    class RenameRequested(Message):
        """The person wants to rename one."""

        entry: SidebarEntry

    @dataclass
    class DeleteRequested(Message):
        """The person wants to delete one."""

        entry: SidebarEntry

    @dataclass
    class Searched(Message):
        """The text of the search has changed; "" ends it."""

        text: str

    @dataclass
    class LeaveRequested(Message):
        """The person is done here."""

    @dataclass
    class MoreRequested(Message):
        """The end of the list is in sight."""

    def __init__(self) -> None:
        super().__init__()
        self._search = SearchInput(placeholder="search all (^F)", compact=True, id="search")
        self.list = ConversationList()
        self._pause: Timer | None = None
        self._listed = 0  # conversations

    def compose(self) -> ComposeResult:
        """Two parts."""
        yield self._search
        yield self.list

    def on_mount(self) -> None:
        """No timer when idle."""
        self._search.cursor_blink = False
        self.watch(self.list, "scroll_y", self._want_more, init=False)

    @property
    def searching(self) -> str:
        """What is being searched for, "" for nothing."""
        return self._search.value.strip()

    @property
    def wanted(self) -> int:
        """How many conversations to list: whole pages, to beyond what is on the screen and what is highlighted."""
        highlighted = self.list.highlighted if self.list.has_focus else None
        lowest = max(self.list.scroll_offset.y + self.list.size.height, highlighted or 0)
        return PAGE * (1 + (lowest + IN_SIGHT) // PAGE)

    def show_conversations(self, summaries: Sequence[Summary], current: str) -> None:
        """List conversations, which come the latest first, under the names of their days."""
        self._listed = len(summaries)
        now, rows, heading = time.time(), list[Row](), ""
        for summary in summaries:
            if (day := day_of(summary.updated, now)) != heading:
                heading = day
                rows.append((Content(day).stylize("bold"), None))
            mark = "\u25cf " if summary.id == current else "  "
            title = one_line(summary.title) or "untitled"
            rows.append((Content(mark + title), SidebarEntry(summary.id, title)))
        chosen = self.list.entry if self.list.has_focus else None  # the row being chosen stays highlighted
        highlights = [(chosen.conversation, chosen.node)] if chosen else []
        self.list.fill(rows or [(Content("No conversations yet").stylize("dim"), None)], *highlights, (current, None))

    def show_hits(self, hits: Sequence[SearchHit]) -> None:
        """List what a search has found: conversations in the order of their first hit, the messages below each.

        The first hit is highlighted, where Enter leads to.
        """
        rows: list[Row] = []
        for id in dict.fromkeys(hit.conversation for hit in hits):
            own_hits = [hit for hit in hits if hit.conversation == id]
            title = one_line(own_hits[0].title) or "untitled"
            rows.append((Content(title).stylize("bold"), SidebarEntry(id, title)))
            for hit in own_hits:
                if hit.node is not None:
                    rows.append((Content(f"  {hit.snippet}"), SidebarEntry(id, title, hit.node, hit.channel)))
        first = [(hit.conversation, hit.node) for hit in hits[:1]]
        self.list.fill(rows or [(Content("Nothing found").stylize("dim"), None)], *first)

    def show_error(self, text: str) -> None:
        """Say why there is nothing to list."""
        self.list.fill([(Content(sentence(one_line(text))), None)])

    def search(self) -> None:
        """Put the cursor into the search, at once: Widget.focus() waits, and the next keys would go astray."""
        self.screen.set_focus(self._search)
        self._search.select_all()

    def clear(self) -> None:
        """End the search."""
        with self._search.prevent(Input.Changed):
            self._search.value = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search once the typing rests."""
        event.stop()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE_S, lambda: self.post_message(self.Searched(self.searching)))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the search: on to what was found."""
        event.stop()
        self.action_into_list()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click on one."""
        event.stop()
        if (entry := self.list.entries[event.option_index]) is not None:
            self.post_message(self.Opened(entry))

    def on_option_list_option_highlighted(self) -> None:
        """Up or down in the list."""
        self._want_more()

    def _want_more(self) -> None:
        if not self.searching and 0 < self._listed < self.wanted and self._listed % PAGE == 0:
            self.post_message(self.MoreRequested())

    def action_into_list(self) -> None:
        """From the search down into the list."""
        self.screen.set_focus(self.list)

    def action_leave(self) -> None:
        """Esc: end the search, then back to the input."""
        if self.searching:
            self.clear()
            self.post_message(self.Searched(""))
        else:
            self.post_message(self.LeaveRequested())
