"""Conversations that are not on the disk yet: kept until they can be saved, with a line when saving fails or recovers.

The Saver writes in the thread that asks, the terminal UI's Journal in one of its own; both have this in common.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.chat.conversation import Changes, Conversation
from app.store.errors import StoreError

if TYPE_CHECKING:  # loaded when the store is opened
    from app.store.store import Store

Write = Callable[["Store"], None]
"""Writes what has changed in one conversation. Raises StoreError."""


class Unsaved:
    """Conversations that wait to be saved.

    `report` gets a line and a level, "error" or "info"; once when saving begins to fail, and once when it works again.
    `meanwhile` says in the first of the two what becomes of the chat.
    """

    def __init__(self, report: Callable[[str, str], None], meanwhile: str) -> None:
        self._report = report
        self._meanwhile = meanwhile
        self._waiting: dict[str, Conversation] = {}
        self._in_writing: dict[str, Conversation] = {}
        self.failing = False
        """Whether the last attempt failed."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Conversation]:
        """Those that wait, as they are now: more may come while they are written."""
        return iter(list(self._waiting.values()))

    def get(self, id: str) -> Conversation | None:
        """The conversation of this id, if it waits or is just being written: the disk may not have all of it."""
        return self._waiting.get(id) or self._in_writing.get(id)

    def add(self, conversation: Conversation) -> None:
        """This one is to be saved."""
        self._waiting[conversation.id] = conversation

    def remove(self, id: str) -> Conversation | None:
        """This one is not to be saved any more; returns it if it waits or is just being written.

        A write that is under way still ends, but its failure doesn't bring the conversation back.
        """
        waiting, in_writing = self._waiting.pop(id, None), self._in_writing.pop(id, None)
        return waiting or in_writing

    @contextmanager
    def writing(self, conversation: Conversation) -> Iterator[Write | None]:
        """Take what has changed in it, to be written within; None if nothing has, or if it waits no longer.

        After an exception, of whatever kind, it waits again with all of that: to write it once more does no harm. If
        it was removed meanwhile, it gets its changes back, for an undo, but doesn't wait.
        """
        waits = self._waiting.pop(conversation.id, None) is not None
        changes, everything = conversation.take_changes() if waits else None, conversation.everything()
        if changes is None:
            yield None
            return
        self._in_writing[conversation.id] = conversation
        try:
            yield lambda store: _write(store, changes, everything)
        except BaseException:
            conversation.give_back(changes)
            if conversation.id in self._in_writing:
                self.add(conversation)
            raise
        finally:
            self._in_writing.pop(conversation.id, None)

    def fail(self, error: StoreError) -> None:
        """An attempt has failed."""
        if not self.failing:
            self.failing = True
            self._report(
                f"not saved: {error}. {self._meanwhile}; the next message tries again to save everything", "error"
            )

    def recover(self) -> None:
        """Everything that waited has been saved."""
        if self.failing:
            self.failing = False
            self._report("saving works again; everything has been saved", "info")


def _write(store: "Store", changes: Changes, everything: Changes) -> None:
    from app.store.store import MissingError

    try:
        store.save(changes)
    except MissingError:  # another program deleted it while it went on here
        store.save(everything)
