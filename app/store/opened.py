"""Whether the database that was opened is still at its path: it may be deleted, moved, replaced or overwritten."""

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from app.store.database import application_id, explained
from app.store.errors import StoreError, UnwritableError

TRIES, PAUSE_S = 5, 0.02
"""Before a file counts as overwritten."""

_LOG, _MEMORY = "-wal", "-shm"
_NONE = (-1, -1)


class DisplacedError(StoreError):
    """What is at the path isn't the database that was opened.

    `overwritten`: the same file has another content. `log_only`: the file is in its place, but its log is not.
    """

    def __init__(self, text: str, *, overwritten: bool = False, log_only: bool = False) -> None:
        super().__init__(text)
        self.overwritten = overwritten
        self.log_only = log_only


class OpenedFile:
    """Knows a database file by its place on the disk, its size and the number that it drew when it was made.

    Nothing here opens the file itself: to close it would drop the locks that SQLite has on it in this process.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._id = application_id(connection)
        self._status = os.stat(path)  # noqa: PTH116  # by name, as all below
        self._beside = {suffix: _inode(self._named(suffix)) for suffix in (_LOG, _MEMORY)}
        self._abandoned = False

    def check(self) -> None:
        """Raises DisplacedError if what is written now would not be found at the path."""
        try:
            status = self.path.stat()
        except OSError:
            raise DisplacedError(f"{self.path} was deleted or moved while this program had it open") from None
        if (status.st_dev, status.st_ino) != (self._status.st_dev, self._status.st_ino):
            raise DisplacedError(f"{self.path} was replaced by another file while this program had it open")
        if self._has_changed(status) and not self._is_ours():
            raise DisplacedError(f"{self.path} was overwritten while this program had it open", overwritten=True)
        if not self._has_log():
            text = f"{self._named(_LOG)} was deleted or replaced while this program had it open"
            raise DisplacedError(text, log_only=True)
        self._status = status

    def check_log(self) -> None:
        """Raises DisplacedError if the log isn't at its path: SQLite would read and write what nobody else finds.

        Nothing but a person deletes it while it is open: SQLite itself does so with the last connection.
        """
        if not self._abandoned and not self._has_log():
            self.check()

    def note(self) -> None:
        """What has changed until now was this program's doing."""
        with suppress(OSError):
            self._status = self.path.stat()

    def abandon(self, *, overwritten: bool) -> None:
        """Let go of a displaced database, so that another can be made at the path. It can still be read.

        What its log holds is brought into the file, wherever that is now; unless the file is overwritten.
        """
        self._abandoned = True
        if not overwritten:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        for suffix, inode in self._beside.items():
            with suppress(OSError):
                if inode is not None and _inode(self._named(suffix)) == inode:
                    self._named(suffix).unlink()  # SQLite would apply it to the next file of this name

    def bring_in_log(self) -> None:
        """Write what a deleted log holds into the file, unless another program has gone on with a log of its own.

        Such a program of ours could only open the file if it already had all that the log held; or if the shared
        memory was deleted too. Raises StoreError: nothing is lost yet, this can be tried again.
        """
        self._abandoned = True
        if self._beside[_LOG] == _NONE or _size(self._named(_LOG)):
            return
        if _inode(self._named(_MEMORY)) not in (None, self._beside[_MEMORY]):
            return
        with explained(f"{self.path} can't be written", self.path.parent):
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise UnwritableError(f"{self.path} can't be written: another program has kept it locked")

    def has_memory(self) -> bool:
        """Whether the shared memory is still at its path. All connections of a process go on with a deleted one."""
        return _inode(self._named(_MEMORY)) == self._beside[_MEMORY]

    def forget(self) -> None:
        """The connection was closed: other files may now have the numbers of its log and memory."""
        self._beside = dict.fromkeys(self._beside, _NONE)

    def _has_log(self) -> bool:
        return self._beside[_LOG] is None or _inode(self._named(_LOG)) == self._beside[_LOG]

    def _has_changed(self, status: os.stat_result) -> bool:
        return (status.st_size, status.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns)

    def _is_ours(self) -> bool:
        """Whether the file alone, without the log, is whole and has our number: other programs of ours may write it."""
        uri = f"{self.path.absolute().as_uri()}?immutable=1"
        for _ in range(TRIES):  # one of them may be about to
            with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as connection:
                if application_id(connection) == self._id:
                    return True
            time.sleep(PAUSE_S)
        return False

    def _named(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def _inode(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
