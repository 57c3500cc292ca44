"""The store: what is saved comes back, is found, deleted and restored; foreign, damaged and full files."""

import sqlite3
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.chat.conversation import PREVIEW_LENGTH, AnswerFacts, CallFacts, Conversation
from app.documents.attachments import Attachment, join
from app.paths import kept_folder, work_folder
from app.store import schema
from app.store import store as store_module
from app.store.errors import UnwritableError
from app.store.schema import MIGRATIONS, folded, migrate, version_of
from app.store.store import MissingError, Store
from mlx_model.events import Stats
from mlx_model.harmony.message import assistant
from tests.fixtures.trees import HOSTILE, STATS, TURN, branched, present, same


def save(store: Store, tree: Conversation) -> Conversation:
    store.save(present(tree.take_changes()))
    return tree


def integrity(path: Path) -> None:
    """What SQLite itself says of the file, of its references and of the search index."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.execute("INSERT INTO messages_fts(messages_fts, rank) VALUES ('integrity-check', 1)")
    connection.close()


def test_folders_above_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "one" / "two" / "conversations.db"
    Store(path).close()
    assert path.parent.stat().st_mode & 0o777 == 0o700


# Saving and loading


def test_a_whole_tree_comes_back(store: Store, path: Path) -> None:
    tree = save(store, branched())
    # Each is put to the test (the prompt of an answer with tools in the tree); a conversation counts the tokens of
    # thoughts itself (AnswerFacts), and what was guessed, read from the disk or computed elsewhere is said while the
    # answer is new.
    names = {field.name for field in fields(Stats) if getattr(STATS, field.name) == field.default}
    reads = {"experts_asked", "experts_read", "experts_bytes", "experts_wait_s"}
    elsewhere = {"there_s", "wire_s"}
    assert names == {"analysis_tokens", "guessed_tokens", "accepted_tokens", "first_prompt_tokens", *elsewhere, *reads}
    assert same(present(store.load(tree.id)), tree)
    assert store.load("nowhere") is None
    integrity(path)


def test_an_answer_grows_and_shrinks_in_place(store: Store, path: Path) -> None:
    tree = Conversation()
    answer = tree.add_answer(tree.add_prompt("go", None).id, TURN, [assistant("a", "analysis"), assistant("b")])
    save(store, tree)
    for messages in ([assistant("a", "analysis"), assistant("bigger")], [assistant("only")]):
        tree.update_answer(answer.id, TURN, messages)
        save(store, tree)
        assert same(present(store.load(tree.id)), tree)
    assert store.search("bigger") == [] and len(store.search("only")) == 1
    integrity(path)


def test_only_what_changed_is_written(store: Store) -> None:
    tree = save(store, branched())
    writes: list[str] = []
    store._connection.set_trace_callback(writes.append)
    tree.add_prompt("one more", tree.leaf)
    save(store, tree)
    assert sum(text.startswith("INSERT OR IGNORE INTO nodes") for text in writes) == 1


def test_text_that_no_encoding_has_is_kept_but_for_those_characters(store: Store) -> None:
    tree = Conversation()
    tree.add_prompt("a\ud800b\0c \U0001f353", None)
    save(store, tree)
    assert present(store.load(tree.id)).messages[0].text == "a\ufffdb\ufffdc \U0001f353"
    assert store.search("bc") == [] and len(store.search("\U0001f353")) == 2


def test_a_withdrawn_prompt_is_gone_and_an_empty_conversation_too(store: Store) -> None:
    tree = Conversation()
    prompt = tree.add_prompt("too long", None)
    save(store, tree)
    tree.withdraw(prompt.id, None)
    save(store, tree)
    assert store.summaries() == [] and store.load(tree.id) is None
    again = tree.add_prompt("shorter", None)
    save(store, tree)
    assert list(present(store.load(tree.id)).nodes) == [again.id] and present(store.load(tree.id)).title == "shorter"
    tree.rename("of the person")
    tree.withdraw(again.id, None)
    save(store, tree)
    tree.add_prompt("another", None)
    save(store, tree)
    assert present(store.load(tree.id)).title == "of the person"


def test_a_save_that_fails_writes_nothing_and_can_be_repeated(store: Store) -> None:
    tree = save(store, branched())
    store._connection.execute("PRAGMA max_page_count = 1")  # as many as there are already
    tree.add_prompt("x" * 100_000, tree.leaf)
    changes = present(tree.take_changes())
    with pytest.raises(UnwritableError, match="disk is full"):
        store.save(changes)
    assert len(present(store.load(tree.id)).nodes) == len(tree.nodes) - 1
    tree.give_back(changes)
    store._connection.execute("PRAGMA max_page_count = 100000")
    save(store, tree)
    assert same(present(store.load(tree.id)), tree)


# Lists, titles, drafts, deletion


def test_the_list_has_the_latest_first(store: Store) -> None:
    trees = [save(store, branched()) for _ in range(3)]
    trees[0].add_prompt("again", trees[0].leaf)
    save(store, trees[0])
    assert [summary.id for summary in store.summaries()] == [trees[0].id, trees[2].id, trees[1].id]
    assert store.summaries()[0].count == 7 and store.summaries()[0].title == trees[0].title


def test_the_list_says_how_the_last_message_on_the_screen_begins(store: Store) -> None:
    tree = save(store, branched())
    tree.select(next(id for id, node in tree.nodes.items() if "There are two." in node.text("final")))
    for on_with, preview in (
        (lambda: None, "There are two."),
        (lambda: tree.add_prompt("Why? " * 100, tree.leaf), ("Why? " * 100)[:PREVIEW_LENGTH]),
        (lambda: tree.add_prompt(join("And this?", [Attachment("a.txt", "x" * 999)]), tree.leaf), "And this?"),
        (lambda: tree.add_prompt(join("", [Attachment("a.txt", "x" * 999)]), tree.leaf), ""),
        (lambda: tree.add_answer(present(tree.leaf), TURN, [assistant("cut off", "analysis")]), ""),
        (lambda: tree.add_answer(present(tree.leaf), TURN, [assistant("So.", "analysis"), assistant("")]), ""),
    ):
        on_with()
        save(store, tree)
        assert store.summaries()[0].preview == tree.preview == preview
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    assert len(store.summaries()) == 1
    assert len([each for each in statements if each.startswith("SELECT")]) == 1  # not one a row


def test_renaming_outlives_later_saves_of_another_program(store: Store, path: Path) -> None:
    tree = save(store, branched())
    other = Store(path)
    other.rename(tree.id, "Berries")
    tree.add_prompt("more", tree.leaf)
    save(store, tree)
    assert present(other.load(tree.id)).title == "Berries"
    tree.rename("Fruit\n\x1b")
    save(store, tree)
    assert present(other.load(tree.id)).title == "Fruit \u241b"
    other.close()


def test_deleting_hides_restoring_brings_back_purging_is_final(store: Store, path: Path) -> None:
    tree, other = save(store, branched()), save(store, branched())
    store.set_draft(tree.id, "unsent thought")
    store.delete(tree.id)
    assert [summary.id for summary in store.summaries()] == [other.id]
    assert {hit.conversation for hit in store.search("strawberry")} == {other.id}
    store.restore(tree.id)
    assert same(present(store.load(tree.id)), tree)
    store.purge([tree.id])
    assert store.load(tree.id) is not None  # it isn't deleted any more
    for each in (tree, other):
        store.delete(each.id)
    store.purge([tree.id])
    assert store.load(tree.id) is None and store.load(other.id) is not None
    store.purge([other.id])
    files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"strawberry" not in files and b"DROP TABLE" not in files and b"unsent" not in files
    integrity(path)


def test_what_was_deleted_long_ago_goes_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Store(path)
    tree = save(first, branched())
    first.delete(tree.id)
    first.close()
    second = Store(path)
    assert second.load(tree.id) is not None
    second.close()
    monkeypatch.setattr(store_module, "PURGE_AFTER_S", -1.0)
    third = Store(path)
    assert third.load(tree.id) is None
    third.close()


def test_how_an_answer_came_about_is_kept(store: Store) -> None:
    tree = Conversation()
    prompt = tree.add_prompt("What is 6 * 7?", None)
    for origin in ("votes 6 of 8; 3,912 tokens", "answer 2 of 8 \ud800", ""):
        tree.add_answer(prompt.id, AnswerFacts("m", None, origin=origin), [])
    save(store, tree)
    loaded = present(store.load(tree.id))
    origins = [node.facts.origin for node in loaded.nodes.values() if node.facts]
    assert origins == ["votes 6 of 8; 3,912 tokens", "answer 2 of 8 \ufffd", ""]


def test_files_of_calls_and_tools_go_with_their_conversation(store: Store, path: Path) -> None:
    tree = Conversation()
    calls = (CallFacts(files=("/data/plot.png",)), CallFacts(error=True))
    tree.add_answer(tree.add_prompt("Plot it.", None).id, AnswerFacts("m", None, calls=calls), [])
    store.insert(tree)
    store.set_tools(tree.id, ("python", "files=/my folder"))
    assert same(present(store.load(tree.id)), tree)
    assert store.tools(tree.id) == ("python", "files=/my folder")
    outside = path.with_name("outside")
    for folder in (outside, work_folder(tree.id) / "plots", kept_folder(tree.id), work_folder("other")):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    (work_folder(tree.id) / "link").symlink_to(outside)
    store.delete(tree.id)
    assert work_folder(tree.id).exists()  # it can be undone
    store.purge([tree.id])
    assert store.tools(tree.id) == ()
    assert not work_folder(tree.id).exists() and not kept_folder(tree.id).exists()
    assert (outside / "file").exists() and (work_folder("other") / "file").exists()


@pytest.mark.parametrize(
    ("damaged", "facts"),
    [
        ("no JSON", ()),
        ("{}", ()),
        ("[" * 100_000, ()),
        (b"\xff", ()),
        ('[1, {"seconds": "x", "error": 0, "allowed": "", "outcome": "", "files": []}]', (CallFacts(), CallFacts())),
        (
            '[{"seconds": 2, "error": 1, "allowed": "you", "outcome": 3, "files": ["a", 1], "later": 1}]',
            (CallFacts(2.0, True, "you", "", ("a",)),),
        ),
    ],
)
def test_damaged_facts_of_calls_leave_the_conversation_readable(
    store: Store, path: Path, damaged: str | bytes, facts: tuple[CallFacts, ...]
) -> None:
    tree = Conversation()
    answer = tree.add_answer(tree.add_prompt("go", None).id, TURN, [assistant("gone")])
    save(store, tree)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE turns SET calls = ?", (damaged,))
    connection.close()
    loaded = present(store.load(tree.id)).nodes[answer.id]
    assert loaded.messages == answer.messages and present(loaded.facts).calls == facts


def test_instructions_go_with_their_conversation(store: Store) -> None:
    tree = branched()
    store.insert(tree)
    store.set_instructions(tree.id, "Be brief.\ud800")
    assert store.instructions(tree.id) == "Be brief.\ufffd" and store.instructions("other") is None
    store.set_instructions(tree.id, "")
    assert store.instructions(tree.id) == ""
    store.delete(tree.id)
    store.purge([tree.id])
    assert store.instructions(tree.id) is None


def test_drafts(store: Store) -> None:
    store.set_draft("", "not yet asked\ud800")
    store.set_draft("a", "one")
    store.set_draft("a", "two")
    assert (store.draft(""), store.draft("a"), store.draft("b")) == ("not yet asked\ufffd", "two", "")
    store.set_draft("a", "  \n")
    assert store.draft("a") == ""


# Search


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("strawberry", 3),  # title, prompt, call of the tool
        ("STRAW three", 0),  # all words in one message
        ("three there", 1),
        ("r's", 2),
        ("日本", 1),
        ("let me count", 1),
        ("%", 2),
        ("_", 2),
        ("\\", 2),
        ('"', 2),
        ("' ; DROP", 2),
        ("NEAR(", 0),
        ("-x OR *", 0),
        ("\0", 0),
        ("   ", 0),
    ],
)
def test_search_finds_parts_of_words_and_takes_nothing_for_syntax(store: Store, text: str, count: int) -> None:
    save(store, branched())
    assert len(store.search(text)) == count


def test_a_hit_names_its_node_and_shows_its_surroundings(store: Store) -> None:
    tree = Conversation()
    prompt = tree.add_prompt("unrelated", None)
    answer = tree.add_answer(prompt.id, TURN, [assistant("long " * 50 + "\nthe \x1bneedle\u202e is here " + "x " * 99)])
    save(store, tree)
    (hit,) = store.search("NEEDLE")
    assert (hit.conversation, hit.node, hit.title, hit.channel) == (tree.id, answer.id, "unrelated", "final")
    assert hit.snippet.startswith("\u2026") and hit.snippet.endswith("\u2026") and len(hit.snippet) < 110
    assert "the \u241bneedle is here" in hit.snippet


def test_search_finds_versions_that_are_not_shown_newest_first(store: Store) -> None:
    tree = save(store, branched())
    assert [hit.snippet for hit in store.search("There are")] == ["There are **three**.", "There are two."]
    assert len(store.search("there", limit=1)) == 1
    assert {hit.conversation for hit in store.search(HOSTILE)} == {tree.id}


# Several programs, other versions, files that are none


def test_two_stores_see_each_other_and_add_to_one_conversation(store: Store, path: Path) -> None:
    tree = save(store, branched())
    other = Store(path)
    theirs = present(other.load(tree.id))
    theirs.add_prompt("from the other", theirs.leaf)
    save(other, theirs)
    tree.add_prompt("from here", tree.leaf)
    save(store, tree)
    both = present(other.load(tree.id))
    assert {"from the other", "from here"} <= {node.text() for node in both.nodes.values()} and both.leaf == tree.leaf
    other.close()


def test_what_another_program_deleted_comes_back_when_it_goes_on_here(store: Store, path: Path) -> None:
    tree = save(store, branched())
    other = Store(path)
    other.delete(tree.id)
    tree.add_prompt("on", tree.leaf)
    save(store, tree)
    assert [summary.id for summary in other.summaries()] == [tree.id]
    before = other._connection.total_changes
    other.purge([tree.id])  # which was its own to purge no longer
    assert other._connection.total_changes == before
    other.delete(tree.id)
    other.purge([tree.id])
    tree.add_prompt("and on", tree.leaf)
    with pytest.raises(MissingError, match="no longer exists"):
        store.save(present(tree.take_changes()))
    store.save(tree.everything())
    assert same(present(other.load(tree.id)), tree)
    other.close()


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_each_step_leads_from_its_version_to_the_present_one(path: Path, version: int) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.create_function("folded", 1, folded)
        for step in MIGRATIONS[:version]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    store = Store(path)
    assert version_of(store._connection) == len(MIGRATIONS)
    tree = save(store, branched())
    assert same(present(store.load(tree.id)), tree)
    store.close()
    integrity(path)


def test_a_step_that_fails_leaves_the_version_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    tree = save(store, branched())
    failing = ("ALTER TABLE nodes ADD COLUMN colour TEXT", "not SQL")
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, failing))
    with pytest.raises(sqlite3.OperationalError):
        migrate(store._connection)
    assert version_of(store._connection) == len(MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, failing[:1]))
    migrate(store._connection)
    assert version_of(store._connection) == len(MIGRATIONS) + 1
    assert same(present(store.load(tree.id)), tree)
    store.close()


def test_a_full_disk_is_called_so_even_if_sqlite_has_rolled_back_itself(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql.startswith("CREATE INDEX"):
                super().execute("ROLLBACK")
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(sql, *parameters)

    monkeypatch.setattr("app.store.database.sqlite3.connect", partial(sqlite3.connect, factory=Full))
    with pytest.raises(UnwritableError, match="the disk is full"):
        Store(path)


def test_the_latest_prompts_of_all_conversations_come_oldest_first(store: Store) -> None:
    for text in ("one", "two", "three"):
        tree = Conversation()
        tree.add_prompt(text, None)
        save(store, tree)
    assert store.prompts() == ["one", "two", "three"] and store.prompts(limit=2) == ["two", "three"]
