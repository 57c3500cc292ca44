"""Conversations as rows of the tables."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from app.chat.conversation import AnswerFacts, BlockRun, CallFacts, Changes, Node
from app.store.schema import folded
from app.store.values import number, storable, text_of
from metal.files import parse_json
from mlx_model.events import Stats
from mlx_model.harmony.message import Effort, Message, Role

_COUNTS = (
    *("prefill_tokens", "reused_tokens", "decode_tokens"),
    *("ttft_s", "prefill_s", "decode_s", "peak_memory_bytes", "first_prompt_tokens"),
)
"""Fields of Stats that are columns of the same name; the seed is the one other."""


def read_nodes(connection: sqlite3.Connection, conversation: str) -> list[Node]:
    """The nodes of a conversation, parents before their children."""
    messages: dict[str, list[Message]] = {}
    for node, role, text, name, channel, recipient, content_type, recovered in connection.execute(
        """SELECT node, role, text, name, channel, recipient, content_type, recovered
        FROM messages AS m JOIN nodes ON nodes.id = m.node WHERE conversation = ? ORDER BY node, position""",
        (conversation,),
    ):
        message = Message(Role(role), text, name, channel, recipient, content_type, bool(recovered))
        messages.setdefault(node, []).append(message)
    facts: dict[str, AnswerFacts] = {}
    for node, model, effort, reason, analysis_s, analysis_tokens, calls, origin, seed, *counts in connection.execute(
        f"""SELECT node, model, effort, finish_reason, analysis_s, analysis_tokens, calls, origin, seed,
        {", ".join(_COUNTS)}
        FROM turns JOIN nodes ON nodes.id = turns.node WHERE conversation = ?""",
        (conversation,),
    ):
        stats = Stats(seed=int(seed), **dict(zip(_COUNTS, counts, strict=True)))
        effort = effort and Effort(effort)
        took = (stats, analysis_s, analysis_tokens, _read_calls(calls), text_of(origin))
        facts[node] = AnswerFacts(model, effort, reason, *took)
    runs: dict[str, list[BlockRun]] = {}
    for node, block, code, output, how in connection.execute(
        """SELECT node, block, code, output, facts FROM runs JOIN nodes ON nodes.id = runs.node
        WHERE conversation = ? ORDER BY node, block""",
        (conversation,),
    ):
        ended = None if how is None else next(iter(_read_calls(f"[{how}]")), CallFacts())
        runs.setdefault(node, []).append(BlockRun(block, code, output, ended))
    return [
        Node(id, parent, created, tuple(messages.get(id, ())), facts.get(id), tuple(runs.get(id, ())))
        for id, parent, created in connection.execute(
            "SELECT id, parent, created FROM nodes WHERE conversation = ? ORDER BY seq", (conversation,)
        )
    ]


def write(connection: sqlite3.Connection, changes: Changes) -> None:
    """Write what has changed in a conversation, within a transaction."""
    execute, title = connection.execute, _storable(changes.title)
    if changes.removed:
        connection.executemany("DELETE FROM nodes WHERE id = ?", [(id,) for id in changes.removed])
    execute(
        """INSERT INTO conversations (id, title, folded_title, created, updated, leaf)
        VALUES (?1, coalesce(?2, ''), ?3, ?4, ?5, ?6)
        ON CONFLICT (id) DO UPDATE SET title = coalesce(?2, title),
        folded_title = CASE WHEN ?2 IS NULL THEN folded_title ELSE ?3 END,
        updated = ?5, leaf = ?6, deleted = NULL""",
        (changes.id, title, folded(title), changes.created, changes.updated, changes.leaf),
    )
    for node in changes.nodes:
        execute(
            "INSERT OR IGNORE INTO nodes (id, conversation, parent, created) VALUES (?, ?, ?, ?)",
            (node.id, changes.id, node.parent, node.created),
        )
        _write_messages(connection, node.id, node.messages)
        if node.facts is not None:
            _write_facts(connection, node.id, node.facts)
        _write_runs(connection, node.id, node.runs)
    if changes.leaf is None:  # a conversation whose only prompt was withdrawn has never been
        execute(
            "DELETE FROM conversations WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM nodes WHERE conversation = ?1)",
            (changes.id,),
        )


def _write_messages(connection: sqlite3.Connection, node: str, messages: Iterable[Message]) -> None:
    rows = [
        (
            node,
            i,
            m.role.value,
            text := storable(m.text),
            folded(text),
            *map(_storable, (m.name, m.channel, m.recipient, m.content_type)),
            m.recovered,
        )
        for i, m in enumerate(messages)
    ]
    connection.executemany(
        """INSERT INTO messages
        (node, position, role, text, folded, name, channel, recipient, content_type, recovered)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (node, position) DO UPDATE SET role = excluded.role,
        text = excluded.text, folded = excluded.folded, name = excluded.name, channel = excluded.channel,
        recipient = excluded.recipient, content_type = excluded.content_type, recovered = excluded.recovered""",
        rows,
    )
    connection.execute("DELETE FROM messages WHERE node = ? AND position >= ?", (node, len(rows)))


def _write_facts(connection: sqlite3.Connection, node: str, facts: AnswerFacts) -> None:
    counts = asdict(facts.stats)
    connection.execute(
        f"""REPLACE INTO turns (node, model, effort, finish_reason, analysis_s, analysis_tokens, calls, origin,
        seed, {", ".join(_COUNTS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, {", ".join("?" * len(_COUNTS))})""",
        (
            *(
                node,
                _storable(facts.model),
                facts.effort,
                _storable(facts.reason),
                facts.analysis_s,
                facts.analysis_tokens,
                json.dumps([asdict(call) for call in facts.calls]) if facts.calls else None,
                _storable(facts.origin or None),
            ),
            *(str(facts.stats.seed), *(counts[name] for name in _COUNTS)),
        ),
    )


def _write_runs(connection: sqlite3.Connection, node: str, runs: Iterable[BlockRun]) -> None:
    connection.execute("DELETE FROM runs WHERE node = ?", (node,))
    connection.executemany(
        "INSERT INTO runs (node, block, code, output, folded, facts) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                *(node, run.block, storable(run.code), output := storable(run.output), folded(output)),
                None if run.facts is None else json.dumps(asdict(run.facts)),
            )
            for run in runs
        ],
    )


def _read_calls(text: str | None) -> tuple[CallFacts, ...]:
    """Of calls whose facts are damaged there are none; the results themselves are messages."""
    try:
        calls = parse_json(text.encode()) if isinstance(text, str) else []
    except ValueError:
        calls = []
    return tuple(map(_read_call, calls if isinstance(calls, list) else []))


def _read_call(fields: Any) -> CallFacts:
    try:
        return CallFacts(
            seconds=float(number(fields["seconds"])),
            error=bool(fields["error"]),
            allowed=text_of(fields["allowed"]),
            outcome=text_of(fields["outcome"]),
            files=tuple(filter(None, map(text_of, fields["files"]))),
        )
    except (KeyError, TypeError, ValueError):
        return CallFacts()


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)
