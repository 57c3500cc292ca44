"""The search index: what people type finds what is written, in old databases too; nothing else is found."""

# ruff: noqa: RUF001  # letters that look like others are what is tested

import sqlite3
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.chat.conversation import Conversation
from app.lines import one_line
from app.paths import conversations_file
from app.store import schema
from app.store.database import NewerError
from app.store.schema import MIGRATIONS, migrate, version_of
from app.store.store import Store
from mlx_model.harmony.message import assistant
from tests.app.store.test_store import integrity
from tests.fixtures.trees import TURN, present

CORPUS = {
    "Café": ["cafe", "CAFÉ", "Cafe\u0301", "afé"],
    "Die größte Größe der Straße": ["GRÖSSE", "grösse", "strasse", "STRASSE", "grosse", "ße"],
    "Tôi học tiếng Việt ở Đà Nẵng": ["tieng viet", "da nang", "TIẾNG", unicodedata.normalize("NFD", "tiếng")],
    "İstanbul'da ışık": ["istanbul", "ISIK", "ışık"],
    "Η οδός": ["ΟΔΟΣ", "οδος"],
    "Ёлка мой": ["елка", "МОЙ"],
    "日本語のガイド": ["日本", "日本語", "ｶﾞｲﾄﾞ", "語"],
    "한글 검색": ["한글", unicodedata.normalize("NFD", "검색"), "색"],
    "I ❤️ 👩\u200d👩\u200d👧 1️⃣": ["❤", "👩\u200d👧", "👧"],
    "well\u2011known isn’t “quoted”": ["well-known", "isn't", '"quoted"'],
    "ﬁle": ["file", "fi"],
    "100% of_it": ["100%", "of_it", "%", "_"],
}
NOT = ["мои", "日木", "かいど", "grüsze", "caff", "of-it", "\u0301", "\u200b"]


@pytest.fixture
def path(home: Path) -> Path:
    return conversations_file()


@pytest.fixture(params=["new", "made by version 2"])
def store(path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    """The corpus, a message and a title each, saved by this version or by one that folded nothing."""
    if request.param != "new":
        old_database(path, 2)
    store = Store(path)
    if request.param == "new":
        for text in CORPUS:
            store.save(present(titled(text).take_changes()))
    yield store
    store.close()
    integrity(path)


def titled(text: str) -> Conversation:
    tree = Conversation()
    tree.add_answer(tree.add_prompt("question", None).id, TURN, [assistant(text)])
    tree.rename(text)
    return tree


def old_database(path: Path, version: int) -> None:
    """The corpus in a database as this version of the tables had it."""
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in (statement for step in MIGRATIONS[:version] for statement in step):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")
    for number, text in enumerate(CORPUS):
        connection.execute("INSERT INTO conversations VALUES (?, ?, 1, 1, NULL, NULL)", (f"c{number}", text))
        connection.execute("INSERT INTO nodes VALUES (NULL, ?, ?, NULL, 1)", (f"n{number}", f"c{number}"))
        connection.execute(
            "INSERT INTO messages (node, position, role, recovered, text) VALUES (?, 0, 'user', 0, ?)",
            (f"n{number}", text),
        )
    connection.commit()
    connection.close()


def test_what_people_type_finds_what_is_written(store: Store) -> None:
    for text, queries in CORPUS.items():
        for form in ("NFC", "NFD"):
            for query in queries:
                hits = store.search(unicodedata.normalize(form, query))
                assert [hit.title for hit in hits if hit.title == text] == [text, text], query  # title and message
                written = one_line(text)
                assert all(hit.snippet.strip("\u2026") in written for hit in hits if hit.title == text), query
    for query in NOT:
        assert store.search(query) == [], query


@pytest.mark.parametrize("text", ["\udcff", "a\ud800b", "straw\udcffberry", "\0"])
def test_what_no_text_has_is_not_found(store: Store, text: str) -> None:
    assert store.search(text) == []


def test_the_index_follows_every_change(store: Store, path: Path) -> None:
    tree = titled("Ångström")
    answer = tree.path[-1].id
    store.save(present(tree.take_changes()))
    assert len(store.search("angstrom")) == 2
    for text, query in (("Ångström!", "angstrom!"), ("plain", "plain"), ("Füße", "fusse"), ("FÜSSE", "fusse")):
        tree.update_answer(answer, TURN, [assistant(text)])
        store.save(present(tree.take_changes()))
        assert [hit.snippet for hit in store.search(query)] == [text]
    store.rename(tree.id, "Überschrift")
    assert store.search("ångström") == [] and [hit.title for hit in store.search("uber")] == ["Überschrift"]
    tree.add_prompt("on", tree.leaf)
    store.save(present(tree.take_changes()))  # of the title nothing has changed
    assert [hit.node for hit in store.search("uber")] == [None]
    store.delete(tree.id)
    store.purge([tree.id])
    assert store.search("uber") == [] and store.search("fusse") == []


def test_a_snippet_begins_where_the_hit_is_in_the_text_as_written(store: Store) -> None:
    text = unicodedata.normalize("NFD", "ééééé " * 40 + "Größe " + "ééé " * 40)
    store.save(present(titled(text).take_changes()))
    (hit,) = [hit for hit in store.search("grosse") if hit.title == text.strip() and hit.node is not None]
    assert unicodedata.normalize("NFC", hit.snippet).startswith("\u2026éééé Größe éé") and len(hit.snippet) <= 102


def test_a_program_of_the_version_before_that_still_runs_can_go_on(path: Path) -> None:
    old_database(path, 2)
    old = sqlite3.connect(path, isolation_level=None)
    statement = "INSERT INTO messages (node, position, role, recovered, text) VALUES ('n0', ?, 'user', 0, 'Old one')"
    old.execute(statement, (1,))
    store = Store(path)
    old.execute(statement, (2,))
    old.execute("UPDATE messages SET text = 'changed' WHERE position = 2")
    old.execute("DELETE FROM messages WHERE position = 1")
    assert len(store.search("old one")) == 0 and len(store.search("changed")) == 1
    old.close()
    store.close()
    integrity(path)


def test_of_two_that_start_at_once_the_second_waits_and_rebuilds_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_database(path, 2)
    first = sqlite3.connect(path, isolation_level=None)
    first.create_function("folded", 1, schema.folded)
    first.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[2:]:
        for statement in step:
            first.execute(statement)
    first.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    copy = Store.in_memory(copy_of=path)  # to read, nobody waits
    assert len(copy.search("GRÖSSE")) == 2
    copy.close()
    second = sqlite3.connect(path, isolation_level=None, timeout=0.01)
    monkeypatch.setattr(schema, "UPGRADE_S", 0.01)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        migrate(second)
    assert version_of(second) == 2 and second.execute("PRAGMA busy_timeout").fetchone() == (10,)
    first.execute("COMMIT")
    first.close()
    changes = second.total_changes
    migrate(second)
    assert version_of(second) == len(MIGRATIONS) and second.total_changes == changes
    second.close()


def test_a_version_that_folded_nothing_refuses_a_database_that_does(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(path).close()
    monkeypatch.setattr("app.store.database.MIGRATIONS", MIGRATIONS[:2])
    with pytest.raises(
        NewerError, match=rf"version {len(MIGRATIONS)}, this program reads up to 2.*was not changed: update gptoss-chat"
    ):
        Store(path)
