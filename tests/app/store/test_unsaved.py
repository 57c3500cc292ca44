"""What Saver and Journal share: what waits, what a failed write gives back, and what is reported of it."""

import pytest

from app.chat.conversation import Conversation
from app.paths import conversations_file
from app.store.database import StoreError
from app.store.store import Store
from app.store.unsaved import Unsaved
from tests.fixtures.trees import branched, stored


@pytest.mark.parametrize("failure", [StoreError("no"), KeyboardInterrupt()], ids=lambda failure: type(failure).__name__)
def test_a_failed_write_is_given_back_with_what_came_meanwhile(failure: BaseException) -> None:
    unsaved, tree = Unsaved(lambda *_: None, ""), branched()
    unsaved.add(tree)
    with pytest.raises(type(failure)), unsaved.writing(tree) as write:
        assert write is not None and not unsaved
        tree.add_prompt("meanwhile", tree.leaf)
        raise failure
    assert unsaved.get(tree.id) is tree
    store = Store(conversations_file())
    with unsaved.writing(tree) as write:
        assert write is not None
        write(store)
    store.close()
    assert not unsaved and [found.everything() for found in stored()] == [tree.everything()]


def test_what_was_removed_while_others_were_written_is_not_written() -> None:
    unsaved, kept, deleted = Unsaved(lambda *_: None, ""), Conversation(), Conversation()
    for tree in (kept, deleted):
        tree.add_prompt("q", None)
        unsaved.add(tree)
    written = []
    for tree in unsaved:
        with unsaved.writing(tree) as write:
            unsaved.remove(deleted.id)
            written.append(write is not None)
    assert written == [True, False] and not unsaved


def test_a_conversation_without_changes_needs_no_write() -> None:
    unsaved, tree = Unsaved(lambda *_: None, ""), Conversation()
    unsaved.add(tree)
    with unsaved.writing(tree) as write:
        assert write is None
    assert not unsaved


def test_failing_and_working_again_are_reported_once_each() -> None:
    reports: list[tuple[str, str]] = []
    unsaved = Unsaved(lambda line, level: reports.append((line, level)), "The chat goes on")
    unsaved.recover()
    for _ in range(2):
        unsaved.fail(StoreError("the disk is full"))
    assert unsaved.failing
    for _ in range(2):
        unsaved.recover()
    assert not unsaved.failing
    assert reports == [
        ("not saved: the disk is full. The chat goes on; the next message tries again to save everything", "error"),
        ("saving works again; everything has been saved", "info"),
    ]
