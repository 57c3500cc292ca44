"""Opens the database: where it is, who may read it, what to do when it is damaged, newer, read-only or locked."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from app.paths import HOME
from app.store.schema import MIGRATIONS, migrate, version_of
from mlx_model.errors import GptossError

BUSY_S = 5.0
"""How long to wait for another program that writes; a save takes milliseconds."""

_PRAGMAS = (
    "foreign_keys = ON",
    "journal_mode = WAL",
    # What was saved survives a power cut. On a Mac only F_FULLFSYNC reaches the disk itself.
    "synchronous = FULL",
    "fullfsync = ON",
    "checkpoint_fullfsync = ON",
    "secure_delete = ON",
)


class StoreError(GptossError):
    """The conversations can't be read or written; the text says why and what was kept."""


class UnwritableError(StoreError):
    """They can't be written, for lack of space or permission; what is there may still be readable."""


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
    """A database in memory: an empty one, or a copy of what is at `path`, as far as that can be read."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    # Read-only first; a file on a read-only disk whose shared memory can't be made must be declared immutable.
    for mode in ("mode=ro", "immutable=1") if path is not None else ():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_read_only(path, mode)) as source:
            source.backup(connection)
            break
    try:
        if version_of(connection) > len(MIGRATIONS):
            raise sqlite3.DatabaseError("made by a newer version")
        _set_up(connection)
    except sqlite3.Error:
        connection.close()
        if path is None:
            raise
        return open_copy(None)
    return connection


def _read_only(path: Path | None, mode: str) -> sqlite3.Connection:
    assert path is not None
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


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
def explained(what: str) -> Iterator[None]:
    """Turn errors of SQLite and of the system into a StoreError that begins with `what`."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(what, error) from error
    except OSError as error:
        raise UnwritableError(f"{what}: {error.strerror or error}") from error


def _open_intact(path: Path) -> sqlite3.Connection:
    with explained(f"{path.parent} can't be written"):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise UnwritableError(f"{path.parent} can't be written: it is a file, not a folder") from None
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    with explained(f"{path} can't be opened"):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            if (version := version_of(connection)) > len(MIGRATIONS):
                raise NewerError(
                    f"{path} was written by a newer gptoss-chat (its tables have version {version}, this program "
                    f"reads up to {len(MIGRATIONS)}). The file was not changed: update gptoss-chat, or set {HOME} to "
                    "another folder"
                )
            _set_up(connection)
            if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise DamagedError(f"{path} is damaged: {found}")
        except BaseException:
            connection.close()
            raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    migrate(connection)


def _explain(what: str, error: sqlite3.Error) -> StoreError:
    match (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF:  # the low byte is the primary code
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
