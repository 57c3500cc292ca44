"""Saves conversations for a program that does one thing at a time, and goes on when nothing can be saved."""

from collections.abc import Callable

from app.chat.conversation import Conversation
from app.store.database import StoreError, default_path
from app.store.store import MissingError, Store

KEPT = "The chat goes on"


class Saver:
    """Nothing here raises StoreError: `report` is told of a trouble once, and again when it is over.

    What could not be saved is kept, and tried again with every later save. The terminal UI has the Journal, which does
    so beside a screen that must not wait.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        """Open the conversations of this person; without them nothing is saved."""
        self._report = report
        self._store: Store | None = None
        self._unsaved: dict[str, Conversation] = {}
        self._failing = False
        try:
            self._store = Store(default_path())
        except StoreError as error:
            report(f"nothing is saved: {error}. {KEPT}")
        else:
            if self._store.told:
                report(self._store.told)

    def save(self, conversation: Conversation) -> None:
        """Write what has changed in it; it is on the disk when this returns, unless `report` was told."""
        self._unsaved[conversation.id] = conversation
        self._flush()

    def close(self) -> None:
        """Try once more to save what is left, and let the store go."""
        if self._store is not None:
            self._flush()
            self._store.close()

    def _flush(self) -> None:
        if self._store is None:
            return
        try:
            for id, conversation in list(self._unsaved.items()):
                _write(self._store, conversation)
                del self._unsaved[id]
        except StoreError as error:
            if not self._failing:
                self._report(f"not saved: {error}. {KEPT}; the next message tries again to save everything")
            self._failing = True
            return
        if self._failing:
            self._report("saving works again; everything has been saved")
        self._failing = False


def _write(store: Store, conversation: Conversation) -> None:
    changes = conversation.take_changes()
    if changes is None:
        return
    try:
        try:
            store.save(changes)
        except MissingError:  # another program deleted it while it went on here
            store.save(conversation.everything())
    except BaseException:  # an interrupt too: once more does no harm
        conversation.give_back(changes)
        raise
