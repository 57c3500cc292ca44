"""What came of code blocks in the database: kept with its answer, found, gone with it."""

import sqlite3
from pathlib import Path

import pytest

from app.chat.conversation import BlockRun, CallFacts, Conversation
from app.digests import digest_of
from app.store import schema
from app.store.exchange.export import to_markdown
from app.store.search import OUTPUT
from app.store.store import Store
from mlx_model.harmony.message import assistant
from tests.fixtures.trees import HOSTILE, TURN, present, same

FACTS = CallFacts(1.5, True, "", "exit status 2", ("/data/plot.png",))


def answered(*runs: BlockRun) -> tuple[Conversation, str]:
    tree = Conversation(title="Code")
    prompt = tree.add_prompt("Code?", None)
    answer = tree.add_answer(prompt.id, TURN, [assistant("```python\nprint(1)\n```")])
    for run in runs:
        tree.keep_run(answer.id, run)
    return tree, answer.id


def saved(store: Store, tree: Conversation) -> None:
    store.save(present(tree.take_changes()))


def test_it_comes_back_and_a_rerun_replaces_it(store: Store) -> None:
    tree, answer = answered(BlockRun(1, "a", HOSTILE + "\0\ud800", FACTS), BlockRun(3, "c", "so far"))
    saved(store, tree)
    loaded = present(store.load(tree.id))
    assert loaded.nodes[answer].runs[1] == BlockRun(3, "c", "so far")
    tree.keep_run(answer, BlockRun(1, "a2", "second"))
    saved(store, tree)
    assert same(present(store.load(tree.id)), tree)
    tree.drop_run(answer, 3)
    saved(store, tree)
    assert [run.output for run in present(store.load(tree.id)).nodes[answer].runs] == ["second"]


def test_each_version_has_its_own_and_what_is_deleted_takes_it_along(store: Store, path: Path) -> None:
    tree, first = answered(BlockRun(1, "a", "of the first"))
    second = tree.add_answer(present(tree.nodes[first].parent), TURN, [assistant("```python\nprint(1)\n```")])
    tree.keep_run(second.id, BlockRun(1, "a", "of the second"))
    saved(store, tree)
    loaded = present(store.load(tree.id))
    assert [loaded.nodes[id].runs[0].output for id in (first, second.id)] == ["of the first", "of the second"]
    tree.withdraw(second.id, first)
    saved(store, tree)
    assert [hit.snippet for hit in store.search("of the")] == ["of the first"]
    store.delete(tree.id)
    assert store.search("of the") == []
    store.purge([tree.id])
    assert store._connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    assert b"of the first" not in path.read_bytes()


def test_a_search_finds_it_among_the_messages_the_newest_first(store: Store) -> None:
    tree, answer = answered(BlockRun(1, "a", "Größe: 1_000\nZeroDivisionError"))
    saved(store, tree)
    [hit] = store.search("grosse 1_0")
    assert (hit.node, hit.channel, hit.role) == (answer, OUTPUT, OUTPUT) and hit.snippet.startswith("Größe: 1_000")
    assert store.search("1x000") == []
    tree.add_prompt("What is a ZeroDivisionError?", answer)
    saved(store, tree)
    assert [hit.role for hit in store.search("zerodivision")] == ["you", OUTPUT]
    assert len(store.search("zerodivision", limit=1)) == 1


def test_damaged_facts_and_a_database_from_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, answer = answered()
    path.parent.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:5])
        connection = sqlite3.connect(path, isolation_level=None)
        schema.migrate(connection)
        connection.close()
    store = Store(path)
    saved(store, tree)
    tree.keep_run(answer, BlockRun(1, "a", "x", FACTS))
    saved(store, tree)
    assert present(store.load(tree.id)).nodes[answer].runs[0].facts == FACTS
    store._connection.execute("UPDATE runs SET facts = '{\"seconds\": []}'")
    assert present(store.load(tree.id)).nodes[answer].runs == (BlockRun(1, "a", "x", CallFacts()),)
    store.close()


def test_the_markdown_export_has_it_below_its_block() -> None:
    tree, _ = answered(BlockRun(1, digest_of("print(1)"), "1", CallFacts(0.2)))
    assert "```python\nprint(1)\n```\n\nOutput (done \u00b7 0.2 s):\n\n```text\n1\n```\n" in to_markdown(tree)
