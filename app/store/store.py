"""Saves, lists, loads, searches and deletes conversations."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from app.chat.conversation import AnswerFacts, Changes, Conversation, Node
from app.store.database import StoreError, explained, open_copy, open_file
from app.store.merging import merge
from app.store.search import SearchHit, find
from app.store.values import storable
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort, Message, Role

PURGE_AFTER_S = 3600.0
"""A deleted conversation that no running program has purged is removed at the first start after this long."""

_COUNTS = (
    *("prefill_tokens", "reused_tokens", "decode_tokens"),
    *("ttft_s", "prefill_s", "decode_s", "peak_memory_bytes"),
)
"""Fields of Stats that are columns of the same name; the seed is the one other."""


class MissingError(StoreError):
    """What a change builds on is gone: another program has deleted the conversation."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation as a list shows it. Times in seconds since 1970; `count` is that of prompts and answers."""

    id: str
    title: str
    created: float
    updated: float
    count: int


@dataclass(frozen=True, slots=True)
class Insertion:
    """What adding a conversation did: whether it was not in the list before, how many nodes came, whether it had been
    deleted."""

    is_new: bool
    nodes: int
    was_deleted: bool = False


class Store:
    """One connection, to be used by the thread that opened it. Every method may raise StoreError.

    `warning` is what a person should know about the opening, "" for nothing; `saves` says whether what is written
    reaches a disk.
    """

    def __init__(self, path: Path) -> None:
        """Open the database at `path`. Raises StoreError; `in_memory` is then what a chat can go on with."""
        connection, self.warning = open_file(path)
        self._connect(connection, f"{path.name} can't be written", saves=True)

    @classmethod
    def in_memory(cls, copy_of: Path | None = None) -> "Store":
        """A store that ends with the program, with a copy of what can be read at `copy_of`. Raises StoreError."""
        store = cls.__new__(cls)
        store.warning = ""
        with explained("conversations can't be kept in memory"):
            connection = open_copy(copy_of)
        store._connect(connection, "the copy in memory can't be written", saves=False)
        return store

    def _connect(self, connection: sqlite3.Connection, failure: str, *, saves: bool) -> None:
        self._connection = connection
        self._failure = failure
        self.saves = saves
        if saves:
            self.purge(before=time.time() - PURGE_AFTER_S)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    # Writing: one transaction each

    def save(self, changes: Changes) -> None:
        """Write what has changed: all of it, or in case of an error nothing.

        A conversation that was deleted meanwhile comes back; one whose nodes are gone raises MissingError, and wants to
        be saved whole.
        """
        with self._transaction():
            self._save(changes)

    def insert(self, conversation: Conversation) -> Insertion:
        """Add a conversation, or to one of that id what it has not yet; nothing that is there changes.

        One that was deleted, but not for good, comes back.
        """
        with self._transaction():
            query = "SELECT deleted IS NOT NULL FROM conversations WHERE id = ?"
            row = self._connection.execute(query, (conversation.id,)).fetchone()
            was_deleted = row is not None and bool(row[0])
            changes = merge(self._load(conversation.id), conversation, self._is_taken)
            if row is None or was_deleted or changes.nodes:
                self._save(changes)
            return Insertion(row is None or was_deleted, len(changes.nodes), was_deleted)

    def _is_taken(self, node: str) -> bool:
        return self._connection.execute("SELECT 1 FROM nodes WHERE id = ?", (node,)).fetchone() is not None

    def rename(self, id: str, title: str) -> None:
        """Give a conversation another title."""
        with self._transaction():
            self._connection.execute("UPDATE conversations SET title = ? WHERE id = ?", (_storable(title), id))

    def delete(self, id: str) -> None:
        """Take a conversation out of list and search; `restore` undoes it, `purge` makes it final."""
        with self._transaction():
            self._connection.execute("UPDATE conversations SET deleted = ? WHERE id = ?", (time.time(), id))

    def restore(self, id: str) -> None:
        """Undo `delete`."""
        with self._transaction():
            self._connection.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", (id,))

    def purge(self, ids: Sequence[str] | None = None, before: float | None = None) -> None:
        """Remove deleted conversations for good: those of `ids`, or all that were deleted before a time.

        Their text is also overwritten in the file and in the log.
        """
        marks = ", ".join("?" * len(ids or ()))
        where, values = (f"id IN ({marks})", tuple(ids)) if ids is not None else ("deleted < ?", (before,))
        with self._transaction():
            rows = self._connection.execute(f"DELETE FROM conversations WHERE deleted IS NOT NULL AND {where}", values)
            if not rows.rowcount:
                return
            self._connection.execute("INSERT INTO messages_fts(messages_fts) VALUES ('optimize')")
        with explained(self._failure):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def set_draft(self, conversation: str, text: str) -> None:
        """Keep what stands in the input; `conversation` is "" for the chat that has not begun."""
        with self._transaction():
            if text.strip():
                self._connection.execute("REPLACE INTO drafts VALUES (?, ?)", (conversation, _storable(text)))
            else:
                self._connection.execute("DELETE FROM drafts WHERE conversation = ?", (conversation,))

    def set_instructions(self, conversation: str, text: str) -> None:
        """Keep a conversation's instructions of its own; "" for none."""
        with self._transaction():
            self._connection.execute("REPLACE INTO instructions VALUES (?, ?)", (conversation, _storable(text)))

    # Reading

    def summaries(self) -> list[Summary]:
        """All conversations, the one that was last added to first."""
        with explained(self._failure):
            rows = self._connection.execute(
                """SELECT id, title, created, updated, (SELECT count(*) FROM nodes WHERE conversation = c.id)
                FROM conversations AS c WHERE deleted IS NULL ORDER BY updated DESC, id"""
            )
            return [Summary(*row) for row in rows]

    def load(self, id: str) -> Conversation | None:
        """A conversation with all its nodes; None if there is none of that id."""
        with self._reading():
            return self._load(id)

    def draft(self, conversation: str) -> str:
        """What stood in the input, "" for nothing."""
        with explained(self._failure):
            row = self._connection.execute("SELECT text FROM drafts WHERE conversation = ?", (conversation,)).fetchone()
            return row[0] if row else ""

    def instructions(self, conversation: str) -> str | None:
        """A conversation's instructions, None if it has none of its own."""
        with explained(self._failure):
            row = self._connection.execute(
                "SELECT text FROM instructions WHERE conversation = ?", (conversation,)
            ).fetchone()
            return row[0] if row else None

    def prompts(self, limit: int = 200) -> list[str]:
        """The latest prompts of all conversations, oldest first. Those of deleted ones are gone from here too."""
        with explained(self._failure):
            rows = self._connection.execute(
                """SELECT text FROM messages JOIN nodes ON nodes.id = node
                JOIN conversations AS c ON c.id = conversation
                WHERE role = ? AND deleted IS NULL ORDER BY messages.seq DESC LIMIT ?""",
                (Role.USER.value, limit),
            )
            return [text for (text,) in rows][::-1]

    def search(self, text: str, limit: int = 50) -> list[SearchHit]:
        """Messages and titles that contain all words of `text`, those in titles first, then the newest first."""
        with explained(self._failure):
            return find(self._connection, text, limit)

    # Rows

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self._failure):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):  # some failures have rolled back by themselves
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.IntegrityError):
                    raise MissingError(f"{self._failure}: the conversation no longer exists ({error})") from error
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Several reads that see the same moment."""
        with explained(self._failure):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def _load(self, id: str) -> Conversation | None:
        head = self._connection.execute(
            "SELECT title, created, updated, leaf FROM conversations WHERE id = ?", (id,)
        ).fetchone()
        if head is None:
            return None
        title, created, updated, leaf = head
        conversation = Conversation(id, title=title, created=created, nodes=self._nodes(id))
        conversation.updated = updated
        if leaf is not None:
            conversation.leaf = leaf
        return conversation

    def _nodes(self, conversation: str) -> list[Node]:
        messages: dict[str, list[Message]] = {}
        for node, role, text, name, channel, recipient, content_type, recovered in self._connection.execute(
            """SELECT node, role, text, name, channel, recipient, content_type, recovered
            FROM messages AS m JOIN nodes ON nodes.id = m.node WHERE conversation = ? ORDER BY node, position""",
            (conversation,),
        ):
            message = Message(Role(role), text, name, channel, recipient, content_type, bool(recovered))
            messages.setdefault(node, []).append(message)
        facts: dict[str, AnswerFacts] = {}
        for node, model, effort, reason, analysis_s, analysis_tokens, seed, *counts in self._connection.execute(
            f"""SELECT node, model, effort, finish_reason, analysis_s, analysis_tokens, seed, {", ".join(_COUNTS)}
            FROM turns JOIN nodes ON nodes.id = turns.node WHERE conversation = ?""",
            (conversation,),
        ):
            stats = Stats(seed=int(seed), **dict(zip(_COUNTS, counts, strict=True)))
            facts[node] = AnswerFacts(model, effort and Effort(effort), reason, stats, analysis_s, analysis_tokens)
        return [
            Node(id, parent, created, tuple(messages.get(id, ())), facts.get(id))
            for id, parent, created in self._connection.execute(
                "SELECT id, parent, created FROM nodes WHERE conversation = ? ORDER BY seq", (conversation,)
            )
        ]

    def _save(self, changes: Changes) -> None:
        execute = self._connection.execute
        if changes.removed:
            self._connection.executemany("DELETE FROM nodes WHERE id = ?", [(id,) for id in changes.removed])
        execute(
            """INSERT INTO conversations (id, title, created, updated, leaf) VALUES (?1, coalesce(?2, ''), ?3, ?4, ?5)
            ON CONFLICT (id) DO UPDATE SET title = coalesce(?2, title), updated = ?4, leaf = ?5, deleted = NULL""",
            (changes.id, _storable(changes.title), changes.created, changes.updated, changes.leaf),
        )
        for node in changes.nodes:
            execute(
                "INSERT OR IGNORE INTO nodes (id, conversation, parent, created) VALUES (?, ?, ?, ?)",
                (node.id, changes.id, node.parent, node.created),
            )
            self._save_messages(node.id, node.messages)
            if node.facts is not None:
                self._save_facts(node.id, node.facts)
        # A conversation whose only prompt was withdrawn has never been.
        execute(
            "DELETE FROM conversations WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM nodes WHERE conversation = ?1)",
            (changes.id,),
        )

    def _save_messages(self, node: str, messages: Iterable[Message]) -> None:
        rows = [
            (
                node,
                i,
                m.role.value,
                *map(_storable, (m.text, m.name, m.channel, m.recipient, m.content_type)),
                m.recovered,
            )
            for i, m in enumerate(messages)
        ]
        self._connection.executemany(
            """INSERT INTO messages (node, position, role, text, name, channel, recipient, content_type, recovered)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (node, position) DO UPDATE SET role = excluded.role,
            text = excluded.text, name = excluded.name, channel = excluded.channel, recipient = excluded.recipient,
            content_type = excluded.content_type, recovered = excluded.recovered""",
            rows,
        )
        self._connection.execute("DELETE FROM messages WHERE node = ? AND position >= ?", (node, len(rows)))

    def _save_facts(self, node: str, facts: AnswerFacts) -> None:
        counts = asdict(facts.stats)
        self._connection.execute(
            f"""REPLACE INTO turns (node, model, effort, finish_reason, analysis_s, analysis_tokens, seed,
            {", ".join(_COUNTS)}) VALUES (?, ?, ?, ?, ?, ?, ?, {", ".join("?" * len(_COUNTS))})""",
            (
                *(
                    node,
                    _storable(facts.model),
                    facts.effort,
                    _storable(facts.reason),
                    facts.analysis_s,
                    facts.analysis_tokens,
                ),
                *(str(facts.stats.seed), *(counts[name] for name in _COUNTS)),
            ),
        )


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)
