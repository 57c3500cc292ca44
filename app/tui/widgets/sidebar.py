"""The conversations beside the chat, by day, and the search over all of them."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from app.lines import one_line, sentence
from app.tui.text.days import day_of
from app.tui.text.key_help import KeyHelp
from app.tui.text.list_rows import LINES, conversation_row, day_heading, found_heading, hit_row, title_of
from app.tui.text.looks import SECONDARY
from app.tui.widgets.row_list import RowList

if TYPE_CHECKING:  # the store comes with SQLite, and is opened after the first screen
    from app.store.search import SearchHit
    from app.store.store import Summary

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


def _leads_to_same(one: Row, other: Row) -> bool:
    (_, entry), (_, other_entry) = one, other
    if entry is None or other_entry is None:
        return entry is other_entry
    return replace(entry, title="") == replace(other_entry, title="")


def _option(text: Content, entry: SidebarEntry | None) -> Option:
    return Option(text, disabled=entry is None)


def nothing(text: str) -> Row:
    """The row of a list that has none."""
    return Content(f" {text}").stylize(SECONDARY), None


class ConversationList(RowList):
    """Two lines each; the headings of the days can't be chosen. Without the focus nothing looks chosen, but for the hit
    of a search that Enter would open.
    """

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
        if len(rows) >= len(before) and all(map(_leads_to_same, rows, before)):  # they stay: a list may be long
            for row, ((text, _), (old_text, _)) in enumerate(zip(rows, before, strict=False)):
                if not text.is_same(old_text):
                    self.replace_option_prompt_at_index(row, text)
            self.add_options([_option(*row) for row in rows[len(before) :]])
        else:
            self.set_options([_option(*row) for row in rows])
        at: dict[tuple[str, str | None], int] = {}
        for row, entry in enumerate(self.entries):
            if entry is not None:
                at.setdefault((entry.conversation, entry.node), row)
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
            ("Enter", "open the first result"),
            ("Down", "go to the results"),
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

    class NothingFound(Message):
        """There is no hit that Enter could have opened."""

    @dataclass
    class LeaveRequested(Message):
        """The person is done here."""

    @dataclass
    class MoreRequested(Message):
        """The end of the list is in sight."""

    def __init__(self) -> None:
        super().__init__()
        self.input = SearchInput(placeholder="search all (^F)", compact=True, select_on_focus=False, id="search")
        self.list = ConversationList()
        self._pause: Timer | None = None
        self._found_for = ""  # the search whose hits are listed
        self._opens_first = False  # Enter was pressed before they were
        self._listed = 0  # conversations

    async def furnish(self) -> None:
        """Put the two parts into the sidebar, which comes empty; see Layout.furnish."""
        self.input.cursor_blink = False  # no timer when idle
        await self.mount(self.input, self.list)
        self.watch(self.list, "scroll_y", self._want_more, init=False)

    @property
    def searching(self) -> str:
        """What is being searched for, "" for nothing."""
        return self.input.value.strip()

    @property
    def wanted(self) -> int:
        """How many conversations to list: whole pages, to beyond what is on the screen and what is highlighted."""
        highlighted = self.list.highlighted if self.list.has_focus else None
        lowest = max((self.list.scroll_offset.y + self.list.size.height) // LINES, highlighted or 0)
        return PAGE * (1 + (lowest + IN_SIGHT) // PAGE)

    def show_conversations(self, summaries: "Sequence[Summary]", current: str) -> None:
        """List conversations, which come the latest first, under the names of their days."""
        self._listed = len(summaries)
        now, rows, heading = time.time(), list[Row](), ""
        for summary in summaries:
            if (day := day_of(summary.updated, now)) != heading:
                rows.append((day_heading(day, first=not heading), None))
                heading = day
            entry = SidebarEntry(summary.id, title_of(summary.title))
            rows.append((conversation_row(summary, now, current=summary.id == current), entry))
        chosen = self.list.entry if self.list.has_focus else None  # the row being chosen stays highlighted
        highlights = [(chosen.conversation, chosen.node)] if chosen else []
        self.list.remove_class("-hits")
        self.list.fill(rows or [nothing("No conversations yet")], *highlights, (current, None))

    def show_hits(self, hits: "Sequence[SearchHit]", text: str) -> None:
        """List what a search for `text` has found: conversations in the order of their first hit, the messages below
        each.

        The first hit is highlighted, where Enter leads to: of the first conversation a message, rather than the title.
        """
        from app.store.search import words_of

        rows, words, now, colours = list[Row](), words_of(text), time.time(), not self.app.no_color
        for id in dict.fromkeys(hit.conversation for hit in hits):
            own_hits = [hit for hit in hits if hit.conversation == id]
            title = title_of(own_hits[0].title)
            rows.append((found_heading(title, words, colours=colours), SidebarEntry(id, title)))
            for hit in own_hits:
                if hit.node is not None:
                    entry = SidebarEntry(id, title, hit.node, hit.channel)
                    rows.append((hit_row(hit, words, now, colours=colours), entry))
        first = [(hit.conversation, hit.node) for hit in hits if hit.node and hit.conversation == hits[0].conversation]
        self.list.add_class("-hits")
        self.list.fill(rows or [nothing("Nothing found")], *first)
        self._found_for = text
        if self._opens_first and text == self.searching:
            self._open_hit()

    def _open_hit(self) -> None:
        self._opens_first = False
        entry = self.list.entry
        self.post_message(self.NothingFound() if entry is None else self.Opened(entry))

    def show_error(self, text: str) -> None:
        """Say why there is nothing to list."""
        self.list.fill([(Content(sentence(one_line(text))), None)])

    def search(self) -> None:
        """Put the cursor into the search, at once: Widget.focus() waits, and the next keys would go astray."""
        self.screen.set_focus(self.input)
        self.input.select_all()

    def submit(self) -> None:
        """Enter in the search or the list, behind the keys that are on their way there."""
        if self.list.has_focus:
            self.list.call_later(self.list.action_select)
        else:
            self.input.call_later(self.input.action_submit)

    def clear(self) -> None:
        """End the search."""
        with self.input.prevent(Input.Changed):
            self.input.value = ""
        self._found_for = ""

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search once the typing rests."""
        event.stop()
        self._opens_first = False
        self._stop_pause()
        self._pause = self.set_timer(PAUSE_S, self._say_searched)

    def _stop_pause(self) -> None:
        if self._pause is not None:
            self._pause.stop()

    def _say_searched(self) -> None:
        self.post_message(self.Searched(self.searching))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the search: open the first hit, once there is one; with nothing to search for, on to the list."""
        event.stop()
        if not self.searching:
            self.action_into_list()
        elif self._found_for == self.searching:
            self._open_hit()
        else:
            self._opens_first = True
            self._stop_pause()
            self._say_searched()

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
