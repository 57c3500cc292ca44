"""The store's file: newer, damaged, read-only, locked, in a folder that can't be made, for its owner alone."""

import sqlite3
from pathlib import Path

import pytest

from app.store.database import DamagedError, NewerError, set_aside
from app.store.errors import UnwritableError
from app.store.schema import MIGRATIONS
from app.store.store import Store
from tests.app.store.test_store import integrity, save
from tests.fixtures.trees import branched, present, same


def test_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    store = Store(path)
    save(store, branched())
    store._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    store.close()
    before = path.read_bytes()
    with pytest.raises(NewerError, match=r"newer gptoss-chat .*was not changed"):
        Store(path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]
    with pytest.raises(NewerError):  # nor is it read: nobody knows what its tables mean
        Store.in_memory(copy_of=path)


@pytest.mark.parametrize("damage", ["not a database at all" * 99, "half", "hole", "random"])
def test_a_damaged_database_is_set_aside_and_never_written(path: Path, damage: str) -> None:
    store = Store(path)
    for _ in range(40):
        save(store, branched())
    store.close()
    whole = bytearray(path.read_bytes())
    match damage:
        case "half":
            del whole[len(whole) // 2 :]
        case "hole":
            whole[4096:12288] = bytes(8192)
        case "random":
            whole[8192:9192] = bytes((i * 7919) % 251 for i in range(1000))
        case text:
            whole[:] = text.encode()
    path.write_bytes(whole)
    store = Store(path)
    (aside,) = path.parent.glob("*damaged*.db")
    assert aside.read_bytes() == whole
    assert str(aside) in store.warning and "damaged" in store.warning and store.summaries() == []
    tree = save(store, branched())
    assert same(present(store.load(tree.id)), tree)
    store.close()
    integrity(path)


def test_a_copy_of_what_is_not_there_yet_is_empty(path: Path) -> None:
    path.parent.mkdir(parents=True)
    memory = Store.in_memory(copy_of=path)
    assert memory.summaries() == [] and not path.exists()
    memory.close()


def test_a_file_that_is_read_only_is_called_so(store: Store) -> None:
    store._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(UnwritableError, match="it is read-only"):
        save(store, branched())


def test_of_two_damaged_at_one_moment_both_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda layout: "now")
    path.parent.mkdir(parents=True)
    for text in ("one", "two"):
        path.write_text(text)
        set_aside(path)
    assert sorted(each.read_text() for each in path.parent.iterdir()) == ["one", "two"]


def test_damage_that_shows_later_says_so(store: Store, path: Path) -> None:
    for _ in range(20):
        save(store, branched())
    store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    store._connection.execute("PRAGMA shrink_memory")
    with pytest.raises(DamagedError, match="the next start renames it"):
        for summary in store.summaries():
            store.load(summary.id)


def test_a_folder_that_cannot_be_made_says_so_and_memory_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "conversations.db"
    with pytest.raises(UnwritableError, match="file can't be written"):
        Store(path)
    with pytest.raises(UnwritableError, match="can't be read"):
        Store.in_memory(copy_of=path)
    memory = Store.in_memory()
    assert not memory.saves
    tree = save(memory, branched())
    assert same(present(memory.load(tree.id)), tree) and memory.search("three")
    memory.close()


def test_a_copy_in_memory_has_what_the_file_has_and_leaves_it_alone(store: Store, path: Path) -> None:
    tree = save(store, branched())
    memory = Store.in_memory(copy_of=path)
    assert same(present(memory.load(tree.id)), tree)
    memory.delete(tree.id)
    assert len(store.summaries()) == 1
    memory.close()


def test_a_locked_database_says_so(store: Store, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._connection.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(UnwritableError, match="another program"):
        save(store, branched())
    other.execute("ROLLBACK")
    other.close()


def test_folder_and_file_are_the_owners_alone(store: Store, path: Path) -> None:
    assert path.parent.stat().st_mode & 0o777 == 0o700
    save(store, branched())
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
