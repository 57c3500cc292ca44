"""What Saver and Journal share: what waits, what a failed write gives back, and what is reported of it."""

import pytest

from app.chat.conversation import Conversation
from app.paths import conversations_file
from app.store.errors import StoreError
from app.store.store import Store
from app.store.unsaved import Unsaved
from mlx_model.harmony.message import assistant
from tests.fixtures.trees import TURN, branched, stored


@pytest.mark.parametrize("failure", [StoreError("no"), KeyboardInterrupt()], ids=lambda failure: type(failure).__name__)
def test_a_failed_write_is_given_back(failure: BaseException) -> None:
    unsaved, tree, store = Unsaved(lambda *_: None, ""), branched(), Store(conversations_file())
    store.insert(tree)
    tree.take_changes()
    answer = next(node for node in tree.nodes.values() if node.facts is not None)
    tree.update_answer(answer.id, TURN, [assistant("more")])
    unsaved.add(tree)
    with pytest.raises(type(failure)), unsaved.writing(tree) as write:
        assert write is not None and not unsaved and unsaved.get(tree.id) is tree
        raise failure
    assert unsaved.get(tree.id) is tree
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


def test_a_failed_write_does_not_bring_back_what_was_removed_meanwhile() -> None:
    unsaved, tree, store = Unsaved(lambda *_: None, ""), Conversation(), Store(conversations_file())
    tree.add_prompt("q", None)
    unsaved.add(tree)
    with pytest.raises(StoreError), unsaved.writing(tree):
        assert unsaved.remove(tree.id) is tree
        raise StoreError("no")
    assert not unsaved
    unsaved.add(tree)  # an undo: nothing of it is lost
    with unsaved.writing(tree) as write:
        assert write is not None
        write(store)
    store.close()
    assert [found.everything() for found in stored()] == [tree.everything()]


def test_a_conversation_without_changes_needs_no_write() -> None:
    unsaved, tree = Unsaved(lambda *_: None, ""), Conversation()
    unsaved.add(tree)
    with unsaved.writing(tree) as write:
        assert write is None
    assert not unsaved


def test_failing_and_working_again_are_reported_once_each() -> None:
    reports: list[tuple[str, str]] = []
    unsaved = Unsaved(lambda line, level: reports.append((line, level)), "The chat continues")
    unsaved.recover()
    for _ in range(2):
        unsaved.fail(StoreError("the disk is full"))
    assert unsaved.failing
    for _ in range(2):
        unsaved.recover()
    assert not unsaved.failing
    assert reports == [
        ("not saved: the disk is full. The chat continues; the next message tries again to save everything", "error"),
        ("saving works again; everything has been saved", "info"),
    ]
