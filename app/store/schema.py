"""The tables, as numbered steps that bring any older database up to date."""

import sqlite3

from app.store.folding import fold

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # `leaf` is the last node on the screen. Deleted conversations stay until they are purged, for the undo.
        """CREATE TABLE conversations (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL,
            leaf TEXT REFERENCES nodes(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
            deleted REAL
        )""",
        # `seq` is the order of creation, in which parents come before their children.
        """CREATE TABLE nodes (
            seq INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            parent TEXT REFERENCES nodes(id) ON DELETE CASCADE,
            created REAL NOT NULL
        )""",
        "CREATE INDEX nodes_of ON nodes(conversation)",
        "CREATE INDEX children_of ON nodes(parent)",
        # How an answer came about; prompts have no row. `seed` is unsigned and has 64 bits, hence text.
        """CREATE TABLE turns (
            node TEXT PRIMARY KEY REFERENCES nodes(id) ON DELETE CASCADE,
            model TEXT NOT NULL,
            effort TEXT,
            finish_reason TEXT,
            seed TEXT NOT NULL,
            prefill_tokens INTEGER NOT NULL,
            reused_tokens INTEGER NOT NULL,
            decode_tokens INTEGER NOT NULL,
            ttft_s REAL NOT NULL,
            prefill_s REAL NOT NULL,
            decode_s REAL NOT NULL,
            peak_memory_bytes INTEGER NOT NULL,
            analysis_s REAL NOT NULL,
            analysis_tokens INTEGER NOT NULL,
            tok_s REAL AS (CASE WHEN decode_tokens > 1 AND decode_s > 0 THEN (decode_tokens - 1) / decode_s END)
        )""",
        """CREATE TABLE messages (
            seq INTEGER PRIMARY KEY,
            node TEXT NOT NULL REFERENCES nodes(id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            role TEXT NOT NULL,
            name TEXT,
            channel TEXT,
            recipient TEXT,
            content_type TEXT,
            recovered INTEGER NOT NULL,
            text TEXT NOT NULL,
            UNIQUE (node, position)
        )""",
        # What stands in the input: of a conversation, or with the empty name of the chat that has not begun.
        "CREATE TABLE drafts (conversation TEXT PRIMARY KEY, text TEXT NOT NULL)",
        """CREATE TRIGGER conversation_deleted AFTER DELETE ON conversations BEGIN
            DELETE FROM drafts WHERE conversation = old.id;
        END""",
        # Trigrams find any part of a word, and text without spaces between words, such as Chinese.
        """CREATE VIRTUAL TABLE messages_fts USING fts5(
            text, content='messages', content_rowid='seq', tokenize='trigram'
        )""",
        """CREATE TRIGGER messages_inserted AFTER INSERT ON messages BEGIN
            INSERT INTO messages_fts(rowid, text) VALUES (new.seq, new.text);
        END""",
        """CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
            INSERT INTO messages_fts(messages_fts, rowid, text) VALUES ('delete', old.seq, old.text);
        END""",
        """CREATE TRIGGER messages_updated AFTER UPDATE OF text ON messages WHEN old.text <> new.text BEGIN
            INSERT INTO messages_fts(messages_fts, rowid, text) VALUES ('delete', old.seq, old.text);
            INSERT INTO messages_fts(rowid, text) VALUES (new.seq, new.text);
        END""",
    ),
    (
        # The developer message of a conversation; an empty one is none, where the command line has one.
        "CREATE TABLE instructions (conversation TEXT PRIMARY KEY, text TEXT NOT NULL)",
        """CREATE TRIGGER instructions_deleted AFTER DELETE ON conversations BEGIN
            DELETE FROM instructions WHERE conversation = old.id;
        END""",
    ),
    (
        # What the search compares, where it isn't the text itself but for ASCII's capitals: SQLite folds those. It is
        # kept, not computed in the triggers: an index must be told what was in it to forget it, and other versions of
        # Unicode fold more; nor has a foreign program that writes here this function.
        "ALTER TABLE conversations ADD COLUMN folded_title TEXT",
        "ALTER TABLE messages ADD COLUMN folded TEXT",
        "DROP TRIGGER messages_inserted",
        "DROP TRIGGER messages_deleted",
        "DROP TRIGGER messages_updated",
        "DROP TABLE messages_fts",
        "UPDATE conversations SET folded_title = folded(title) WHERE folded(title) IS NOT NULL",
        "UPDATE messages SET folded = folded(text) WHERE folded(text) IS NOT NULL",
        "CREATE VIEW searchable AS SELECT seq, coalesce(folded, text) AS text FROM messages",
        """CREATE VIRTUAL TABLE messages_fts USING fts5(
            text, content='searchable', content_rowid='seq', tokenize='trigram'
        )""",
        "INSERT INTO messages_fts(messages_fts) VALUES ('rebuild')",
        """CREATE TRIGGER messages_inserted AFTER INSERT ON messages BEGIN
            INSERT INTO messages_fts(rowid, text) VALUES (new.seq, coalesce(new.folded, new.text));
        END""",
        """CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
            INSERT INTO messages_fts(messages_fts, rowid, text)
            VALUES ('delete', old.seq, coalesce(old.folded, old.text));
        END""",
        """CREATE TRIGGER messages_updated AFTER UPDATE OF text, folded ON messages
        WHEN old.text <> new.text OR old.folded IS NOT new.folded BEGIN
            INSERT INTO messages_fts(messages_fts, rowid, text)
            VALUES ('delete', old.seq, coalesce(old.folded, old.text));
            INSERT INTO messages_fts(rowid, text) VALUES (new.seq, coalesce(new.folded, new.text));
        END""",
        # The list begins with the latest; what is deleted is looked for at every start.
        "CREATE INDEX latest ON conversations(updated DESC, id) WHERE deleted IS NULL",
        "CREATE INDEX deleted ON conversations(deleted) WHERE deleted IS NOT NULL",
    ),
    (
        # How the results of an answer's tools came about, as a list in JSON in their order; NULL for none.
        "ALTER TABLE turns ADD COLUMN calls TEXT",
        # What is switched on in a conversation, a name a line.
        "CREATE TABLE tools (conversation TEXT PRIMARY KEY, text TEXT NOT NULL)",
        """CREATE TRIGGER tools_deleted AFTER DELETE ON conversations BEGIN
            DELETE FROM tools WHERE conversation = old.id;
        END""",
    ),
    (
        # How an answer came about where several were asked for, in words; NULL for one that was asked for alone.
        "ALTER TABLE turns ADD COLUMN origin TEXT",
    ),
    (
        # What came of the code blocks that the person has run, of each the last; they go with the answer. `facts` are
        # those of a call, as an object in JSON, NULL of one that has not ended; `folded` is as in messages.
        """CREATE TABLE runs (
            node TEXT NOT NULL REFERENCES nodes(id) ON DELETE CASCADE,
            block INTEGER NOT NULL,
            code TEXT NOT NULL,
            output TEXT NOT NULL,
            folded TEXT,
            facts TEXT,
            PRIMARY KEY (node, block)
        ) WITHOUT ROWID""",
    ),
    (
        # The prompt of an answer's first round where more followed: what of these has left is in the other counts.
        "ALTER TABLE turns ADD COLUMN first_prompt_tokens INTEGER NOT NULL DEFAULT 0",
    ),
)
"""MIGRATIONS[n] leads from version n to n + 1; what has been released is never changed, only added to.
The steps may call `folded`."""

UPGRADE_S = 30.0
"""How long to wait for another program that brings the tables up to date."""


def folded(text: str | None) -> str | None:
    """What the columns `folded` and `folded_title` hold beside a text; None if the text itself is compared."""
    return None if text is None or text.isascii() else fold(text)


def version_of(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0 for an empty database."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, each step in a transaction of its own. `connection` is in autocommit mode.

    A program killed in between leaves the version before; of two at once, the second waits (to index many conversations
    anew takes longer than any save) and finds nothing to do.
    """
    ((busy_ms, *_),) = connection.execute("PRAGMA busy_timeout")
    connection.execute(f"PRAGMA busy_timeout = {UPGRADE_S * 1000:.0f}")
    try:
        _migrate(connection)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")


def _migrate(connection: sqlite3.Connection) -> None:
    connection.create_function("folded", 1, folded, deterministic=True)
    while version_of(connection) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if (version := version_of(connection)) < len(MIGRATIONS):
                for statement in MIGRATIONS[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # on a full disk SQLite has rolled back itself
                connection.execute("ROLLBACK")
            raise
