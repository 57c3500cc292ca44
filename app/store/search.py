"""Full-text search over all conversations: any part of a word, all words in one message, title or output of code.

Case, accents and Unicode's ways to compose a letter make no difference.
"""

import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.lines import one_line
from app.store.folding import fold, spans
from app.store.values import storable
from mlx_model.harmony.message import Role

ELLIPSIS = "\u2026"
BEFORE, LENGTH = 10, 100
"""Of a snippet: characters before the hit, and all in all."""
OUTPUT = "output"
"""The channel of a hit in what a code block has written, and its role."""
TRIGRAM = 3
"""Shorter words have no trigram, so the index can't find them, and the texts are read instead."""


@dataclass(frozen=True, slots=True)
class SearchHit:
    """Where the words were found: in the title if `node` is None, else in a message of that node.

    `created` is the time of the node, or of the conversation's last change. `channel` is the message's, None in a
    prompt, OUTPUT in what a code block has written; `role` says in a word what it is. `snippet` is one line of inert
    text.
    """

    conversation: str
    title: str
    node: str | None
    created: float
    channel: str | None
    snippet: str
    role: str


def find(connection: sqlite3.Connection, text: str, limit: int) -> list[SearchHit]:
    """Hits in titles, then in messages, newest first, `limit` of each at most; none for a blank text."""
    words = words_of(text)
    if not words:
        return []
    long = [word for word in words if len(word) >= TRIGRAM]
    short = [word for word in words if len(word) < TRIGRAM]
    in_title = " AND ".join(["coalesce(folded_title, title) LIKE ? ESCAPE '\\'"] * len(words))
    titles = connection.execute(
        f"SELECT id, title, updated FROM conversations WHERE deleted IS NULL AND {in_title} "
        "ORDER BY updated DESC LIMIT ?",
        (*map(_containing, words), limit),
    )
    hits = [SearchHit(id, title, None, updated, None, snippet(title, words), "title") for id, title, updated in titles]
    conditions = ["deleted IS NULL", *["coalesce(folded, text) LIKE ? ESCAPE '\\'"] * len(short)]
    values = [*map(_containing, short)]
    if long:
        conditions.append("m.seq IN (SELECT rowid FROM messages_fts WHERE messages_fts MATCH ?)")
        values.append(" ".join(f'"{quoted}"' for quoted in (word.replace('"', '""') for word in long)))
    messages = connection.execute(
        f"""SELECT n.seq, c.id, title, n.id, n.created, channel, text, m.role, m.recipient
        FROM messages AS m JOIN nodes AS n ON n.id = m.node JOIN conversations AS c ON c.id = n.conversation
        WHERE {" AND ".join(conditions)} ORDER BY n.seq DESC, position DESC LIMIT ?""",
        (*values, limit),
    )
    found = [(*hit, channel, text, _role(role, channel, to)) for *hit, channel, text, role, to in messages]
    found = sorted([*found, *_outputs(connection, words, limit)], key=lambda hit: -hit[0])[:limit]
    return hits + [
        SearchHit(conversation, title, node, created, channel, snippet(text, words), role)
        for _, conversation, title, node, created, channel, text, role in found
    ]


def _outputs(connection: sqlite3.Connection, words: Sequence[str], limit: int) -> list[tuple[Any, ...]]:
    """Hits in what code blocks have written. They have no index: few are run, and all texts are short."""
    contained = " AND ".join(["coalesce(folded, output) LIKE ? ESCAPE '\\'"] * len(words))
    rows = connection.execute(
        f"""SELECT n.seq, c.id, title, n.id, n.created, '{OUTPUT}', output, '{OUTPUT}'
        FROM runs AS r JOIN nodes AS n ON n.id = r.node JOIN conversations AS c ON c.id = n.conversation
        WHERE deleted IS NULL AND {contained} ORDER BY n.seq DESC, block DESC LIMIT ?""",
        (*map(_containing, words), limit),
    )
    return rows.fetchall()


def words_of(text: str) -> list[str]:
    """What `find` looks for, folded."""
    return fold(storable(text.replace("\0", " "))).split()


def snippet(text: str, words: Sequence[str]) -> str:
    """The surroundings of the first of `words`, which are folded, that `text` has, as one line."""
    first, _ = next(spans(text, words), (0, 0))
    start = max(0, first - BEFORE)
    while start < first and unicodedata.combining(text[start]):  # a mark needs its letter
        start += 1
    piece = one_line(text[start : start + LENGTH])
    before, after = start > 0, start + LENGTH < len(text)
    return f"{ELLIPSIS * before}{piece}{ELLIPSIS * after}"


def _role(role: str, channel: str | None, recipient: str | None) -> str:
    if role == Role.USER.value:
        return "you"
    if role == Role.TOOL.value or recipient is not None:
        return "tool"
    return "thought" if channel == "analysis" else "answer"


def _containing(word: str) -> str:
    return "%" + re.sub(r"([\\%_])", r"\\\1", word) + "%"
