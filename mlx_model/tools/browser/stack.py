"""The pages of a conversation in the order of their cursors, which can be read from the conversation's messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlx_model.harmony.message import Message, Role
from mlx_model.tools.browser.display import Header, read_header, readable
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.finding import found_in
from mlx_model.tools.browser.kept_pages import key_of
from mlx_model.tools.shown_pages import Kind

VIEW_SOURCE = "view-source:"
"""In front of the URL of a page whose text is its source."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a cursor stands for. `key` is that of the kept page, of a search within a page that of the page searched."""

    kind: Kind
    url: str
    title: str
    key: str


# For cursors whose displays are no longer in the conversation.
_MISSING = Entry(Kind.PAGE, "", "", "")
_MOST_MISSING = 1_000


class Stack:
    """Every display pushes an entry, scrolling too; what fails pushes nothing."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them; the cursor is the place."""
        return tuple(self._entries)

    def push(self, entry: Entry) -> None:
        """The next cursor."""
        self._entries.append(entry)

    def cursor(self, cursor: int) -> int:
        """The cursor that is meant; a negative one is the newest. Raises BrowserError for one that there isn't."""
        newest = len(self._entries) - 1
        if newest < 0:
            raise BrowserError("No pages to access!")
        if cursor > newest:
            raise BrowserError(f"Cursor `{cursor}` is out of range. Available cursor indices: [0 - {newest}].")
        return newest if cursor < 0 else cursor

    def __getitem__(self, cursor: int) -> Entry:
        return self._entries[cursor]

    def restore(self, messages: Iterable[Message]) -> None:
        """Makes it what it was after these messages, of which the displays of the browser tell what was pushed."""
        self._entries.clear()
        for message in messages:
            if message.role is Role.TOOL and (message.name or "").startswith("browser."):
                header = read_header(message.text)
                # The same display twice is the answer to a call that was not run again.
                if header is not None and len(self._entries) <= header.cursor < len(self._entries) + _MOST_MISSING:
                    self._entries += [_MISSING] * (header.cursor - len(self._entries))
                    self._entries.append(self._read(header, message))

    def _read(self, header: Header, message: Message) -> Entry:
        if message.name == "browser.search":
            return Entry(Kind.SEARCH, "", header.name, key_of_results(message.text))
        # Results of a search have no URL; what was searched for may end like one.
        scrolled = (each for each in reversed(self._entries) if each.title == header.name and not each.url)
        return next(scrolled, None) or self.entry(*header.parts)

    def entry(self, title: str, url: str) -> Entry:
        """The entry of a page with this URL."""
        found = found_in(url)
        if found is None:
            return Entry(Kind.PAGE, url, title, key_of(readable(url)))
        if found[0]:
            return Entry(Kind.FIND, url, title, key_of(readable(found[0])))
        # In the results of a search, which have no URL.
        results = (each for each in reversed(self._entries) if each.kind is Kind.SEARCH)
        return Entry(Kind.FIND, url, title, next((each.key for each in results if f" in `{each.title}`" in title), ""))


def key_of_results(display: str) -> str:
    """The key of the results of a search, by their first display."""
    return key_of(display.partition("] ")[2])
