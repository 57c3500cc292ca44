"""Opens the database: where it is, who may read it, what to do when it is damaged, newer, read-only or locked."""

import contextlib
import os
import re
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from app.paths import HOME
from app.store.errors import StoreError, UnwritableError
from app.store.locks import has_no_locks
from app.store.schema import MIGRATIONS, migrate, version_of

BUSY_S = 5.0
"""How long to wait for another program that writes; a save takes milliseconds."""
COPY_S = 1.0
"""How long to wait for it once more, to read at least: only a program that keeps all others out makes readers wait."""

_PRAGMAS = (
    "foreign_keys = ON",
    "journal_mode = WAL",
    # What was saved survives a power cut. On a Mac only F_FULLFSYNC reaches the disk itself.
    "synchronous = FULL",
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    "secure_delete = ON",
)
_CANT_BE_SHARED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""How a database answers whose shared memory can't be made."""


class NewerError(StoreError):
    """A newer version of this program made the database."""


class DamagedError(StoreError):
    """The file isn't an intact database."""


def open_file(path: Path) -> tuple[sqlite3.Connection, str]:
    """A connection to the database at `path`, made if there is none, and a warning for the person ("" for none).

    A damaged file is renamed and a new one made. The folder and the file are the owner's alone to read. Raises
    NewerError, UnwritableError, StoreError.
    """
    try:
        return _open_intact(path), ""
    except DamagedError:
        aside = set_aside(path)
        warning = (
            f"the conversations in {path.name} can't be read: the file is damaged. It was kept as {aside}, "
            "and a new file was made"
        )
        return _open_intact(path), warning


def open_copy(path: Path | None) -> sqlite3.Connection:
    """A database in memory: an empty one, or a copy of what is at `path`. Raises StoreError if that can't be read."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        if path is not None:
            _copy(path, connection)
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _copy(path: Path, target: sqlite3.Connection) -> None:
    with explained(f"{path} can't be read", path.parent):
        if path.parent.is_dir() and not os.path.lexists(path):
            return  # there are no conversations yet
        _refuse_special(path, path.stat())
        try:
            _copy_in(path, "mode=ro", target)
        except sqlite3.Error as error:
            if _primary_code(error) not in _CANT_BE_SHARED:
                raise
            _copy_in(path, "immutable=1", target)  # on a read-only disk, where nobody can write meanwhile


def _copy_in(path: Path, mode: str, target: sqlite3.Connection) -> None:
    uri = f"{path.absolute().as_uri()}?{mode}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=COPY_S, isolation_level=None)) as source:
        # `backup` would try for ever to get a lock that another program keeps; a transaction fails in time, and has it.
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        _refuse_newer(path, source)
        source.backup(target)


def set_aside(path: Path) -> Path:
    """Rename a damaged database, its log included, to a name that nothing has; returns that of the database."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{path.stem}.damaged-{stamp}{f'-{n}' if n else ''}{path.suffix}" for n in range(1000))
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    with explained(f"{path} is damaged and can't be renamed"):
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


@contextlib.contextmanager
def explained(what: str, folder: Path | None = None) -> Iterator[None]:
    """Turn errors of SQLite and of the system into a StoreError that begins with `what`.

    `folder` is where the database is, for the reasons that lie in its disk.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(what, error, folder) from error
    except OSError as error:
        raise UnwritableError(f"{what}: {error.strerror or error}") from error


def _open_intact(path: Path) -> sqlite3.Connection:
    with explained(f"{path.parent} can't be written"):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise UnwritableError(f"{path.parent} can't be written: it is a file, not a folder") from None
        _make(path)
    with explained(f"{path} can't be opened", path.parent):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            _refuse_newer(path, connection)
            _set_up(connection)
            if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                _refuse_unread(path, found)
                raise DamagedError(f"{path} is damaged: {found}")
        except BaseException:
            connection.close()
            raise
    return connection


def _refuse_unread(path: Path, found: str) -> None:
    """What could not be read is not damaged: a failing disk, or a log that was deleted while another program has it."""
    codes = re.findall(r"unable to get the page. error code=(\d+)", found)
    if any(int(code) & 0xFF == sqlite3.SQLITE_IOERR for code in codes):
        raise UnwritableError(
            f"{path} can't be opened: the system could not read all of it, or its log, {path.name}-wal, was deleted "
            "while another gptoss-chat had it open; quit that one, which mends it, and start again"
        )


def _make(path: Path) -> None:
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o600)
    try:
        _refuse_special(path, os.fstat(file))
    finally:
        os.close(file)


def _refuse_special(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device has no end
        raise UnwritableError(f"{path} is not an ordinary file; rename it, or set {HOME} to another folder")


def _refuse_newer(path: Path, connection: sqlite3.Connection) -> None:
    if (version := version_of(connection)) > len(MIGRATIONS):
        raise NewerError(
            f"{path} was written by a newer gptoss-chat (its tables have version {version}, this program "
            f"reads up to {len(MIGRATIONS)}). The file was not changed: update gptoss-chat, or set {HOME} to "
            "another folder"
        )


def _set_up(connection: sqlite3.Connection) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    migrate(connection)
    if not application_id(connection):  # by which a file is told from another that was copied over it
        connection.execute(f"PRAGMA application_id = {1 + secrets.randbelow(2**31 - 1)}")
        connection.execute("PRAGMA wal_checkpoint").fetchall()  # it is looked for in the file, not in the log


def application_id(connection: sqlite3.Connection) -> int:
    """The number that each of our databases drew when it was made; 0 in one that isn't ours, or not yet."""
    id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    return id


def _primary_code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the low byte


def _explain(what: str, error: sqlite3.Error, folder: Path | None) -> StoreError:
    code = _primary_code(error)
    # SQLite takes the lack of locks for a lock that another program holds, or for a failing disk.
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR) and folder is not None and has_no_locks(folder):
        return UnwritableError(
            f"{what}: the disk of {folder} has no file locks, as some network disks; set {HOME} to a folder on another"
        )
    match code:
        case sqlite3.SQLITE_FULL:
            return UnwritableError(f"{what}: the disk is full")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return UnwritableError(f"{what}: it is read-only")
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
            return UnwritableError(f"{what}: the system could not read or write it ({error})")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return UnwritableError(f"{what}: another program has kept it locked for {BUSY_S:g} s")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DamagedError(f"{what}: the file is damaged; the next start renames it and makes a new one")
    return StoreError(f"{what}: {error}")
