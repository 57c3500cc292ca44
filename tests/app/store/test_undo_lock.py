""" "/undo brings it back, until you quit" holds whatever other programs do meanwhile; then nothing of it is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.paths import conversations_file
from app.store import store as store_module
from app.store.locks import UndoLock
from app.store.store import Store
from app.tui.parts.journal import Journal
from tests.fixtures import ROOT
from tests.fixtures.trees import keep, present, stored, titled


@pytest.fixture(autouse=True)
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every deletion is."""
    monkeypatch.setattr(store_module, "PURGE_AFTER_S", -1.0)


async def test_a_start_of_another_program_leaves_what_a_running_chat_can_restore() -> None:
    tree = titled("Deleted")
    keep(tree)
    journal = Journal(lambda text, level: None)
    await journal.open()
    await journal.delete(tree.id)
    assert stored() == []  # which opens the store, as every start does
    assert await journal.restore() == tree.id
    assert [each.title for each in stored()] == ["Deleted"]
    await journal.delete(tree.id)
    await journal.close()
    assert not deleted(tree.id)


def deleted(id: str) -> bool:
    """Whether it is still in the file."""
    memory = Store.in_memory(copy_of=conversations_file())
    found = memory.load(id) is not None
    memory.close()
    return found


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_what_a_program_left_deleted_goes_at_the_next_start(how: str) -> None:
    tree = titled("Deleted")
    keep(tree)
    code = (
        "import sys; from pathlib import Path; from app.store.store import Store\n"
        f"store = Store(Path(sys.argv[1])); store.delete({tree.id!r}); print('deleted', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(conversations_file())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as chat:
        assert chat.stdout is not None and chat.stdout.readline() == b"deleted\n"
        Store(conversations_file()).close()
        assert deleted(tree.id)
        if how == "killed":
            chat.kill()
        else:
            chat.communicate()
    Store(conversations_file()).close()
    assert not deleted(tree.id)


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_chats_that_delete_one_conversation_the_later_can_undo(first: int) -> None:
    tree = titled("Deleted")
    keep(tree)
    chats = [Store(conversations_file()) for _ in range(2)]
    earlier, later = chats[first], chats[1 - first]
    earlier.delete(tree.id)
    later.delete(tree.id)
    earlier.purge([tree.id])
    earlier.close()
    later.restore(tree.id)
    assert present(later.load(tree.id)).title == "Deleted"
    later.delete(tree.id)
    later.purge([tree.id])
    assert later.load(tree.id) is None
    later.close()


def test_nobody_is_alone_while_another_holds_the_lock_and_everybody_may_hold_it(tmp_path: Path) -> None:
    one, two, three = (UndoLock(tmp_path / "conversations.db") for _ in range(3))
    with three.alone() as alone:
        assert alone
    one.hold()
    two.hold()
    for held in (one, two):
        with three.alone() as alone:
            assert not alone
        held.release()
    with three.alone() as alone:
        assert alone


def test_without_locks_nothing_of_others_is_purged(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = titled("Deleted")
    keep(tree)

    def refuse(file: int, operation: int) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr("app.store.locks.fcntl.flock", refuse)
    store = Store(conversations_file())
    store.delete(tree.id)
    Store(conversations_file()).close()
    store.restore(tree.id)
    assert present(store.load(tree.id)).title == "Deleted"
    store.delete(tree.id)
    store.purge([tree.id])
    store.close()
    assert not deleted(tree.id)
