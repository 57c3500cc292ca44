"""Locks of files: whether a disk has them, and the one by which programs know of deletions that can be undone."""

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRIES, PAUSE_S = 50, 0.02
"""For the lock, which somebody alone has for the moment of a purge; it then takes nothing that was deleted just now."""

_MISSING = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def has_no_locks(folder: Path) -> bool:
    """Whether the disk of this folder refuses every lock; false where that can't be tried."""
    with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _MISSING
    return False


class UndoLock:
    """A file beside the database, locked by each program that can still undo a deletion.

    Programs share the lock; whoever has it alone knows that nobody will undo anything. The system lets go of it however
    a program ends. On a disk without locks nobody is ever alone.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-undo")
        self._file: int | None = None

    def hold(self) -> None:
        """Keep others from being alone, until `release`."""
        if self._file is not None:
            return
        with suppress(OSError):
            self._file = file = self._opened()
            for _ in range(TRIES):
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return
                time.sleep(PAUSE_S)

    def release(self) -> None:
        """Let go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Within it nobody else can hold the lock, if it yields true."""
        file, alone = None, False
        with suppress(OSError):
            file = self._opened()
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        try:
            yield alone
        finally:
            if file is not None:
                os.close(file)

    def _opened(self) -> int:
        return os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
