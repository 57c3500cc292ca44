"""Saves conversations for a program that does one thing at a time, and goes on when nothing can be saved."""

from collections.abc import Callable

from app.chat.conversation import Conversation
from app.paths import conversations_file
from app.store.errors import StoreError
from app.store.opened import DisplacedError
from app.store.store import Store
from app.store.unsaved import Unsaved

MEANWHILE = "The chat continues"


class Saver:
    """Nothing here raises StoreError: `report` gets a line when saving begins to fail, and another when it works again.

    What could not be saved is kept, and tried again with every later save. The terminal UI has the Journal, which saves
    beside a screen that must not wait.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """Open the conversations of this person; without them nothing is saved."""
        self._report = report
        self._store: Store | None = None
        self._unsaved = Unsaved(lambda line, level: report(line), MEANWHILE)
        try:
            self._store = Store(conversations_file())
        except StoreError as error:
            report(f"conversations are not saved: {error}. {MEANWHILE}")
        else:
            if self._store.warning:
                report(self._store.warning)

    def save(self, conversation: Conversation) -> None:
        """Write what has changed in it; it is on the disk when this returns, unless `report` got a line."""
        self._unsaved.add(conversation)
        self._flush()

    def last(self) -> Conversation | None:
        """The conversation that was last added to; None if there is none, or if they can't be read."""
        if self._store is None:
            return None
        try:
            summaries = self._store.summaries(limit=1)
            return self._store.load(summaries[0].id) if summaries else None
        except StoreError as error:
            self._report(f"the conversations can't be read: {error}")
            return None

    def close(self) -> None:
        """Try once more to save what is left, and close the store."""
        if self._store is not None:
            self._flush()
            self._store.close()

    def _flush(self) -> None:
        if self._store is None:
            return
        try:
            for conversation in self._unsaved:
                with self._unsaved.writing(conversation) as write:
                    if write is not None:
                        self._do(write)
            self._do(Store.check)
        except StoreError as error:
            self._unsaved.fail(error)
        else:
            self._unsaved.recover()

    def _do(self, action: Callable[[Store], None]) -> None:
        assert self._store is not None
        try:
            action(self._store)
        except DisplacedError as why:
            self._store = self._store.reopened(why)
            self._report(self._store.warning)
            action(self._store)
