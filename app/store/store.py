"""Saves, lists, loads, searches and deletes conversations."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.chat.conversation import PREVIEW_LENGTH, Changes, Conversation, beginning_of
from app.store.database import explained, open_copy, open_file, set_aside
from app.store.errors import StoreError
from app.store.folders import remove_folders
from app.store.locks import UndoLock
from app.store.merging import Insertion, merge
from app.store.opened import DisplacedError, OpenedFile
from app.store.rows import read_nodes, write
from app.store.schema import folded
from app.store.search import SearchHit, find
from app.store.values import storable
from mlx_model.harmony.message import Role

PURGE_AFTER_S = 3600.0
"""A deleted conversation that no program has purged is removed at the first start after this long, once no program runs
that can still undo a deletion."""


class MissingError(StoreError):
    """What a change builds on is gone: another program has deleted the conversation."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation as a list shows it. Times in seconds since 1970; `count` is that of prompts and answers.

    `preview` is the beginning of the last answer on the screen, or of a prompt without one, as it was written.
    """

    id: str
    title: str
    created: float
    updated: float
    count: int
    preview: str = ""


class Store:
    """One connection, to be used by the thread that opened it. Every method may raise StoreError.

    `warning` is what a person should know about the opening, "" for nothing. What writes raises DisplacedError if the
    database is no longer at its path: `reopened` is then what a chat can go on with.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at `path`. Raises StoreError; `in_memory` is then what a chat can go on with."""
        connection, self.warning = open_file(path)
        self._connect(connection, path)
        with suppress(StoreError):  # the next start tries again
            self._purge_abandoned()

    @classmethod
    def in_memory(cls, copy_of: Path | None = None) -> "Store":
        """A store that ends with the program, empty or with a copy of what is at `copy_of`.

        Raises StoreError, also if that can't be read.
        """
        store = cls.__new__(cls)
        store.warning = ""
        with explained("conversations can't be kept in memory"):
            store._connect(open_copy(copy_of), None)
        return store

    def _connect(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self._connection = connection
        self._undo_lock = None if path is None else UndoLock(path)
        self._deleted: dict[str, float] = {}  # here, and when
        self._used: dict[str, None] = {}  # conversations that were loaded or saved here
        self._folder = None if path is None else path.parent
        name = "the copy in memory" if path is None else path.name
        self._unwritable, self._unreadable = f"{name} can't be written", f"{name} can't be read"
        with explained(self._unreadable):
            self._opened = None if path is None else OpenedFile(path, connection)

    @property
    def saves(self) -> bool:
        """Whether what is written reaches a disk."""
        return self._opened is not None

    def check(self) -> None:
        """Raises DisplacedError if the database is no longer at its path."""
        if self._opened is not None:
            self._opened.check()

    def reopened(self, why: DisplacedError) -> "Store":
        """A store at the same path, with the conversations that were loaded or saved here, in place of this one.

        What overwrote the database is set aside; `warning` says all that. Raises StoreError; this store is then still
        to be read.
        """
        assert self._opened is not None
        if why.log_only:
            return self._with_new_log(self._opened, why)
        path, aside = self._opened.path, None
        self._opened.abandon(overwritten=why.overwritten)
        if why.overwritten:
            aside = set_aside(path)
        is_there = path.exists()
        store = Store(path)
        self._copy_used_to(store)
        self._connection.close()  # which leaves what is at the path alone: SQLite sees that its file has moved
        what = "A new file was made there, with the conversations of this sitting; earlier ones are not in it"
        if is_there and not store.warning:
            what = "The conversations of this sitting were written to what is there now"
        kept = f"what is there now was kept as {aside}" if aside else ""
        store.warning = "; ".join(filter(None, (f"{why}. {what}", kept, store.warning)))
        return store

    def _with_new_log(self, opened: OpenedFile, why: DisplacedError) -> "Store":
        opened.bring_in_log()
        if opened.has_memory():  # which says that the log is empty, or what another has written to the new one
            store = Store(opened.path)
            store._used, store._deleted = self._used, self._deleted
            if self._deleted and store._undo_lock is not None:
                store._undo_lock.hold()
            what = "What was saved is in the database, and is saved there from now on"
        else:
            missed = self._move_to_memory(opened)
            store = Store(opened.path)
            self._copy_used_to(store)
            what = "The conversations of this sitting were written to what is there now"
            if missed:
                what += f", but {missed} of them could not be read"
        self._connection.close()  # not as the last one, which would delete the new log
        store.warning = "; ".join(filter(None, (f"{why}. {what}", store.warning)))
        return store

    def _move_to_memory(self, opened: OpenedFile) -> int:
        """Close the file, with what is in use still to be read; returns how many conversations are not."""
        memory = Store.in_memory()
        missed = self._copy_used_to(memory)
        self._connection.close()
        self._connection = memory._connection
        opened.forget()
        return missed

    def _copy_used_to(self, other: "Store") -> int:
        """Copy what can be read; returns how many conversations can't."""
        missed = 0
        for id in self._used:
            try:
                self._copy_to(other, id)
            except StoreError:
                missed += 1
        return missed

    def _copy_to(self, other: "Store", id: str) -> None:
        if (conversation := self.load(id)) is None:
            return
        other.save(conversation.everything())
        if draft := self.draft(id):
            other.set_draft(id, draft)
        if (instructions := self.instructions(id)) is not None:
            other.set_instructions(id, instructions)
        other.set_tools(id, self.tools(id))
        if id in self._deleted:
            other.delete(id)

    def close(self) -> None:
        """Close the database."""
        if self._undo_lock is not None:
            self._undo_lock.release()
        try:
            self.check()
        except DisplacedError as why:
            assert self._opened is not None
            if why.log_only:
                with suppress(StoreError):
                    self.reopened(why).close()
            else:
                self._opened.abandon(overwritten=why.overwritten)
        self._connection.close()

    # Writing: one transaction each

    def save(self, changes: Changes) -> None:
        """Write what has changed: all of it, or in case of an error nothing.

        A conversation that was deleted meanwhile comes back; one whose nodes are gone raises MissingError, and wants to
        be saved whole.
        """
        with self._transaction():
            self._write(changes)

    def insert(self, conversation: Conversation) -> Insertion:
        """Add a conversation, or to one of that id what it has not yet; nothing that is there changes.

        One that was deleted, but not for good, comes back.
        """
        with self._transaction():
            query = "SELECT deleted IS NOT NULL FROM conversations WHERE id = ?"
            row = self._connection.execute(query, (conversation.id,)).fetchone()
            was_deleted = row is not None and bool(row[0])
            here = self._load(conversation.id)
            changes = merge(here, conversation, self._is_taken)
            if row is None or was_deleted or changes.nodes:
                self._write(changes)
            outputs = sum(node.id in here.nodes for node in changes.nodes) if here is not None else 0
            return Insertion(row is None or was_deleted, len(changes.nodes) - outputs, was_deleted, outputs)

    def _is_taken(self, node: str) -> bool:
        return self._connection.execute("SELECT 1 FROM nodes WHERE id = ?", (node,)).fetchone() is not None

    def rename(self, id: str, title: str) -> None:
        """Give a conversation another title."""
        with self._transaction():
            self._connection.execute(
                "UPDATE conversations SET title = ?, folded_title = ? WHERE id = ?",
                (stored := storable(title), folded(stored), id),
            )

    def delete(self, id: str) -> None:
        """Take a conversation out of list and search; `restore` undoes it, `purge` makes it final.

        As long as this store is open, no other program purges it.
        """
        if self._undo_lock is not None:
            self._undo_lock.hold()
        moment = time.time()
        with self._transaction():
            self._connection.execute("UPDATE conversations SET deleted = ? WHERE id = ?", (moment, id))
        self._deleted[id] = moment
        self._used[id] = None

    def restore(self, id: str) -> None:
        """Undo `delete`."""
        with self._transaction():
            self._connection.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", (id,))
        self._deleted.pop(id, None)

    def purge(self, ids: Sequence[str]) -> None:
        """Remove conversations for good that were deleted here, and by no other program since: it can still undo that.

        Their text is also overwritten in the file and in the log, and their folders go.
        """
        self._purge("(id, deleted) = (?, ?)", [(id, self._deleted[id]) for id in ids if id in self._deleted])

    def _purge_abandoned(self) -> None:
        """Remove what was deleted long ago by a program that has ended without purging it."""
        where, before = "deleted < ?", time.time() - PURGE_AFTER_S
        with explained(self._unreadable):
            if not self._connection.execute(f"SELECT 1 FROM conversations WHERE {where}", (before,)).fetchone():
                return
        assert self._undo_lock is not None
        with self._undo_lock.alone() as alone:
            if alone:
                self._purge(where, [(before,)])

    def _purge(self, where: str, values: Sequence[tuple[object, ...]]) -> None:
        with self._transaction():
            query = f"DELETE FROM conversations WHERE {where} RETURNING id"
            gone = [id for value in values for (id,) in self._connection.execute(query, value).fetchall()]
            if not gone:
                return
            self._connection.execute("INSERT INTO messages_fts(messages_fts) VALUES ('optimize')")
        with explained(self._unwritable):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        remove_folders(gone)
        if self._opened is not None:
            self._opened.note()

    def set_draft(self, conversation: str, text: str) -> None:
        """Keep what stands in the input; `conversation` is "" for the chat that has not begun."""
        self._set_text("drafts", conversation, text if text.strip() else "")

    def set_instructions(self, conversation: str, text: str) -> None:
        """Keep a conversation's instructions of its own; "" for none."""
        self._set_text("instructions", conversation, text)

    def set_tools(self, conversation: str, names: Sequence[str]) -> None:
        """Keep what is switched on in a conversation."""
        self._set_text("tools", conversation, "\n".join(names))

    def _set_text(self, table: str, conversation: str, text: str) -> None:
        with self._transaction():
            self._connection.execute(f"REPLACE INTO {table} VALUES (?, ?)", (conversation, storable(text)))

    # Reading

    def summaries(self, limit: int | None = None) -> list[Summary]:
        """All conversations, or the first so many, the one that was last added to first."""
        with self._reading():
            rows = self._connection.execute(
                """SELECT id, title, created, updated, (SELECT count(*) FROM nodes WHERE conversation = c.id),
                coalesce((SELECT CASE role WHEN 'user' THEN text ELSE substr(text, 1, ?) END FROM messages
                WHERE node = c.leaf AND (channel = 'final' OR role = 'user') AND text <> ''
                ORDER BY position DESC LIMIT 1), '')
                FROM conversations AS c WHERE deleted IS NULL ORDER BY updated DESC, id LIMIT ?""",
                (PREVIEW_LENGTH, -1 if limit is None else limit),
            )
            return [Summary(*(*row[:-1], beginning_of(row[-1]))) for row in rows]

    def load(self, id: str) -> Conversation | None:
        """A conversation with all its nodes; None if there is none of that id."""
        with self._reading():
            conversation = self._load(id)
        self._used[id] = None
        return conversation

    def draft(self, conversation: str) -> str:
        """What stood in the input, "" for nothing."""
        return self._text("drafts", conversation) or ""

    def instructions(self, conversation: str) -> str | None:
        """A conversation's instructions, None if it has none of its own."""
        return self._text("instructions", conversation)

    def tools(self, conversation: str) -> tuple[str, ...]:
        """What is switched on in a conversation."""
        return tuple((self._text("tools", conversation) or "").splitlines())

    def _text(self, table: str, conversation: str) -> str | None:
        with self._reading():
            query = f"SELECT text FROM {table} WHERE conversation = ?"
            return next((text for (text,) in self._connection.execute(query, (conversation,))), None)

    def prompts(self, limit: int = 200) -> list[str]:
        """The latest prompts of all conversations, oldest first. Those of deleted ones are gone from here too."""
        with self._reading():
            rows = self._connection.execute(
                """SELECT text FROM messages JOIN nodes ON nodes.id = node
                JOIN conversations AS c ON c.id = conversation
                WHERE role = ? AND deleted IS NULL ORDER BY messages.seq DESC LIMIT ?""",
                (Role.USER.value, limit),
            )
            return [text for (text,) in rows][::-1]

    def search(self, text: str, limit: int = 50) -> list[SearchHit]:
        """Messages and titles that contain all words of `text`, those in titles first, then the newest first."""
        with self._reading():
            return find(self._connection, text, limit)

    # Transactions

    def _write(self, changes: Changes) -> None:
        write(self._connection, changes)
        self._used[changes.id] = None
        self._deleted.pop(changes.id, None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.check()
        with explained(self._unwritable, self._folder):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if self._opened is not None:  # once more: while this waited, another program may have begun a new log
                    self._opened.check_log()
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):  # some failures have rolled back by themselves
                    self._connection.execute("ROLLBACK")
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                    raise MissingError(f"{self._unwritable}: the conversation no longer exists ({error})") from error
                raise
        if self._opened is not None:
            self._opened.note()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Several reads that see the same moment."""
        if self._opened is not None:
            self._opened.check_log()
        with explained(self._unreadable, self._folder):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:  # some failures have ended it by themselves
                    self._connection.execute("COMMIT")

    def _load(self, id: str) -> Conversation | None:
        query = "SELECT title, created, updated, leaf FROM conversations WHERE id = ?"
        if (head := self._connection.execute(query, (id,)).fetchone()) is None:
            return None
        title, created, updated, leaf = head
        conversation = Conversation(id, title=title, created=created, nodes=read_nodes(self._connection, id))
        conversation.updated = updated
        if leaf is not None:
            conversation.leaf = leaf
        return conversation
