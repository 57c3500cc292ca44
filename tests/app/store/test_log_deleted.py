"""SQLite's log deleted beside an open database: said, and nothing lost; never said of what SQLite itself does."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.chat.conversation import Conversation
from app.paths import conversations_file
from app.store.errors import StoreError
from app.store.locks import UndoLock
from app.store.opened import DisplacedError
from app.store.store import Store
from tests.app.store.test_store import integrity
from tests.fixtures.scripted_saver import ScriptedSaver
from tests.fixtures.trees import present, stored, titled

Chats = Callable[[], ScriptedSaver]
BESIDE = {"log": ("-wal",), "log and memory": ("-wal", "-shm")}
each_way = pytest.mark.parametrize("gone", BESIDE.values(), ids=BESIDE.keys())


def remove(*suffixes: str) -> None:
    path = conversations_file()
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink()


def titles() -> set[str]:
    integrity(conversations_file())
    return {each.title for each in stored()}


@pytest.fixture
def chats() -> Iterator[Chats]:
    """Starts chats in processes of their own."""
    started: list[ScriptedSaver] = []

    def start() -> ScriptedSaver:
        started.append(ScriptedSaver())
        assert started[-1].do("open") == []
        return started[-1]

    yield start
    for chat in started:
        chat.kill()


@each_way
def test_what_was_confirmed_survives_a_kill(chats: Chats, gone: tuple[str, ...]) -> None:
    chat = chats()
    assert chat.do("save", "Before") == []
    remove(*gone)
    (line,) = chat.do("save", "After")
    assert "conversations.db-wal was deleted" in line
    assert chat.do("save", "Later") == []
    chat.kill()
    assert titles() == {"Before", "After", "Later"}


@each_way
def test_two_chats_go_on_and_each_says_so_once(chats: Chats, gone: tuple[str, ...]) -> None:
    one, two = chats(), chats()
    one.do("save", "One")
    two.do("save", "Two")
    remove(*gone)
    for number in range(3):
        for chat, name in ((one, "One"), (two, "Two")):
            assert len(chat.do("save", f"{name}-{number}")) == (number == 0)
    one.kill()
    three = chats()
    three.do("save", "Three")
    two.kill()
    assert titles() == {"One", "Two", "Three", *(f"{name}-{number}" for name in ("One", "Two") for number in range(3))}


def test_a_second_chat_meanwhile_does_not_take_the_database_for_damaged(chats: Chats) -> None:
    one = chats()
    one.do("save", "Before")
    remove("-wal")
    second = ScriptedSaver()
    (line,) = second.do("open")
    second.kill()
    assert "conversations.db-wal, was deleted" in line and "damaged" not in line
    one.do("save", "After")
    assert chats().do("save", "Second") == []
    one.kill()
    assert titles() == {"Before", "After", "Second"}
    assert not list(conversations_file().parent.glob("*damaged*"))


@pytest.mark.parametrize("end", ["close", "kill", "none"])
@pytest.mark.parametrize("then", ["save", "close"])
def test_what_a_second_chat_wrote_meanwhile_stays(chats: Chats, end: str, then: str) -> None:
    one = chats()
    one.do("save", "Before")
    one.do("checkpoint")
    remove("-wal")
    second = chats()
    second.do("save", "Second")
    if end == "close":
        second.do("close")
    elif end == "kill":
        second.kill()
    one.do(*(("save", "After") if then == "save" else ("close",)))
    one.kill()
    assert titles() == {"Before", "Second"} | ({"After"} if then == "save" else set())


def test_with_the_memory_gone_too_a_second_chat_that_runs_keeps_what_it_wrote(chats: Chats) -> None:
    one = chats()
    one.do("save", "Before")
    remove("-wal", "-shm")
    second = chats()
    second.do("save", "Second")
    one.do("save", "After")
    second.do("save", "Later")
    one.kill()
    second.kill()
    assert titles() == {"Before", "Second", "After", "Later"}


@each_way
def test_what_was_deleted_can_still_be_restored_and_purged(gone: tuple[str, ...]) -> None:
    store, kept, deleted = Store(conversations_file()), titled("Kept"), titled("Deleted")
    for each in (kept, deleted):
        store.save(present(each.take_changes()))
        store.delete(each.id)
    remove(*gone)
    with pytest.raises(DisplacedError) as refused:
        store.summaries()
    after = store.reopened(refused.value)
    after.restore(kept.id)
    after.purge([deleted.id])
    after.close()
    assert titles() == {"Kept"}


@pytest.mark.parametrize("has_deleted", [True, False])
def test_only_who_has_deleted_something_keeps_others_from_purging(has_deleted: bool) -> None:
    store, conversation = Store(conversations_file()), titled("Deleted")
    store.save(present(conversation.take_changes()))
    if has_deleted:
        store.delete(conversation.id)
    remove("-wal")
    with pytest.raises(DisplacedError) as refused:
        store.summaries()
    after = store.reopened(refused.value)
    with UndoLock(conversations_file()).alone() as alone:
        assert alone is not has_deleted
    after.close()


def test_where_no_new_log_can_be_begun_all_is_still_to_be_read_and_a_later_try_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, tree = Store(conversations_file()), titled("Before")
    store.save(present(tree.take_changes()))
    remove("-wal", "-shm")

    def refuse(path: Path) -> None:
        raise OSError(28, "No space left on device")

    for _ in range(2):
        with pytest.raises(DisplacedError) as refused:
            store.check()
        with monkeypatch.context() as patched:
            patched.setattr("app.store.database._make", refuse)
            with pytest.raises(StoreError, match="No space left"):
                store.reopened(refused.value)
        assert present(store.load(tree.id)).everything() == tree.everything()
    after = store.reopened(refused.value)
    after.save(present(titled("After").take_changes()))
    after.close()
    assert titles() == {"Before", "After"}


def test_quitting_alone_loses_nothing() -> None:
    store = Store(conversations_file())
    store.save(present(titled("Before").take_changes()))
    remove("-wal")
    store.close()
    assert titles() == {"Before"}


@pytest.mark.parametrize("seed", range(4))
def test_chats_that_open_save_and_close_in_any_order_never_say_so(chats: Chats, seed: int) -> None:
    rng = random.Random(seed)
    pair, expected = [chats(), chats()], set()
    is_open = [True, True]
    for number in range(40):
        which = rng.randrange(2)
        command = rng.choice(("save", "save", "checkpoint", "close")) if is_open[which] else "open"
        is_open[which] = command != "close"
        title = [f"Title-{number}"] if command == "save" else []
        expected.update(title)
        assert pair[which].do(command, *title) == []
    for chat in pair:
        chat.kill()
    assert titles() == expected


def test_nor_do_stores_of_one_program() -> None:
    rng, stores = random.Random(0), [Store(conversations_file())]
    for _ in range(60):
        match rng.randrange(4):
            case 0:
                stores.append(Store(conversations_file()))
            case 1 if stores:
                stores.pop(rng.randrange(len(stores))).close()
            case _ if stores:
                store = rng.choice(stores)
                tree = titled("Now")
                store.insert(tree)
                store.delete(tree.id)
                store.purge([tree.id])  # with a checkpoint
                store.check()
    for store in stores:
        store.check()
        store.close()


def test_what_cannot_be_read_when_the_log_is_gone_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(conversations_file())
    kept, lost = titled("Kept"), titled("Lost")
    for tree in (kept, lost):
        store.save(present(tree.take_changes()))
    remove("-wal", "-shm")
    with pytest.raises(DisplacedError) as refused:
        store.check()
    load = Store.load

    def unreadable(self: Store, id: str) -> Conversation | None:
        if id == lost.id:
            raise StoreError("the file is damaged")
        return load(self, id)

    monkeypatch.setattr(Store, "load", unreadable)
    after = store.reopened(refused.value)
    assert "but 1 of them could not be read" in after.warning
    assert "Kept" in {summary.title for summary in after.summaries()}
    after.close()
