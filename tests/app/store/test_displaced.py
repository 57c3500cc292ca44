"""The database deleted, moved, replaced or overwritten while a program has it open: said, and nothing lost after it."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from app.chat.conversation import Conversation, new_id
from app.paths import conversations_file
from app.store.opened import DisplacedError
from app.store.saver import Saver
from app.store.store import Store
from app.tui.parts.journal import Journal
from mlx_model.harmony.message import assistant
from tests.app.store.test_store import integrity
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, idle, text_on, wait_until
from tests.fixtures.trees import TURN, keep, present, stored, titled


def delete_file(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    shutil.rmtree(path.parent)


def move_file(path: Path) -> None:
    path.rename(path.with_name(f"moved-{new_id()}.db"))


def move_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name(f"moved-{new_id()}"))


def replace(path: Path) -> None:
    other(path).rename(path)


def truncate(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(8192)


def overwrite(path: Path) -> None:
    shutil.copyfile(other(path), path)


def overwrite_with_rubbish(path: Path) -> None:
    path.write_bytes(b"rubbish" * 100_000)


def other(path: Path) -> Path:
    """Another database of ours, as large."""
    beside = path.with_name(f"other-{new_id()}.db")
    store = Store(beside)
    for number in range(20):
        store.insert(titled(f"Other {number}"))
    store.close()
    return beside


KINDS = [
    *(delete_file, delete_all, move_file, move_folder, replace),
    *(truncate, cut, overwrite, overwrite_with_rubbish),
]
displaced = pytest.mark.parametrize("displace", KINDS, ids=lambda kind: kind.__name__)
Displace = Callable[[Path], None]


def test_what_was_restored_before_is_listed_in_a_new_store() -> None:
    path = conversations_file()
    store, trees = Store(path), [titled("Now"), titled("Restored"), titled("Deleted")]
    for each in trees:
        store.save(present(each.take_changes()))
    for each in trees[1:]:
        store.delete(each.id)
    store.restore(trees[1].id)
    delete_file(path)
    with pytest.raises(DisplacedError) as refused:
        store.check()
    after = store.reopened(refused.value)
    assert {summary.title for summary in after.summaries()} == {"Now", "Restored"}
    after.close()


@displaced
def test_a_save_is_refused_and_a_new_store_has_what_was_in_use(displace: Displace) -> None:
    path = conversations_file()
    keep(titled("Earlier"))
    store, tree, deleted = Store(path), titled("Now"), titled("Deleted")
    for each in (tree, deleted):
        store.save(present(each.take_changes()))
        store.set_draft(each.id, "a draft")
        store.set_instructions(each.id, "be brief")
    store.delete(deleted.id)
    displace(path)
    tree.add_prompt("more", tree.leaf)
    changes = present(tree.take_changes())
    with pytest.raises(DisplacedError, match=rf"{path} was (deleted or moved|replaced|overwritten)") as refused:
        store.save(changes)
    after = store.reopened(refused.value)
    after.save(tree.everything())
    titles = {summary.title for summary in after.summaries()}
    assert ("damaged-" in after.warning) is refused.value.overwritten  # where it was set aside
    assert "Now" in titles and "Earlier" not in titles and "Deleted" not in titles
    if displace is not truncate and displace is not overwrite and displace is not overwrite_with_rubbish:
        assert (after.draft(tree.id), after.instructions(tree.id)) == ("a draft", "be brief")
        after.restore(deleted.id)
        assert present(after.load(deleted.id)).everything() == deleted.everything()
    after.check()
    assert present(after.load(tree.id)).everything() == tree.everything()
    after.close()
    integrity(path)


@displaced
def test_the_plain_chat_says_so_and_goes_on(displace: Displace) -> None:
    lines: list[str] = []
    saver, tree = Saver(lines.append), titled("Now")
    saver.save(tree)
    displace(conversations_file())
    for number in range(3):
        tree.add_prompt(f"more {number}", tree.leaf)
        saver.save(tree)
    saver.close()
    assert len(lines) == 1 and ("written to what is there now" if displace is replace else "A new file was") in lines[0]
    assert tree.everything() in [each.everything() for each in stored()]


@displaced
async def test_the_journal_says_so_once_and_goes_on(displace: Displace) -> None:
    lines: list[str] = []
    journal, tree = Journal(lambda text, level: lines.append(f"{level}: {text}")), titled("Now")
    await journal.open()
    await journal.save(tree)
    displace(conversations_file())
    tree.add_prompt("more", tree.leaf)
    await journal.save(tree)
    await journal.rename(tree.id, "Renamed")
    assert not journal.loses and journal.saves
    await journal.close()
    assert len(lines) == 1 and lines[0].startswith("error: ") and journal.last_words in lines[0]
    assert "Renamed" in [each.title for each in stored()]


@displaced
async def test_what_was_saved_before_is_missed_at_the_end_at_the_latest(displace: Displace) -> None:
    lines: list[str] = []
    journal, tree = Journal(lambda text, level: lines.append(text)), titled("Now")
    await journal.open()
    await journal.save(tree)
    displace(conversations_file())
    await journal.flush()  # as on quitting
    assert "with the conversations of this sitting" in journal.last_words or displace is replace
    await journal.close()
    if displace not in (truncate, overwrite, overwrite_with_rubbish):  # nothing of it is left to be read there
        assert "Now" in [each.title for each in stored()]


async def test_where_no_new_file_can_be_made_quitting_warns_first_and_a_later_save_finds_everything(home: Path) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await ask(pilot, engine, "one", "first")
        shutil.rmtree(home)
        home.write_text("in the way")
        await ask(pilot, engine, "two", "second")
        await wait_until(pilot, lambda: "it is a file, not a folder" in " ".join(text_on(pilot).split()))
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: "quits without saving" in text_on(pilot))
        assert app.is_running
        home.unlink()
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not app.is_running)
        assert "was deleted or moved" in str(app._exit_renderables)
    assert [len(each.nodes) for each in stored()] == [4]


def test_what_other_programs_do_to_the_database_is_not_taken_for_that() -> None:
    path = conversations_file()
    store, second = Store(path), Store(path)
    for number in range(5):
        second.insert(titled(f"Second {number}", text="long " * 20_000))
        second._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        store.insert(titled(f"First {number}"))
    for summary in second.summaries():
        if summary.title.startswith("Second"):
            second.delete(summary.id)
            second.purge([summary.id])
    vacuum = sqlite3.connect(path)  # the file shrinks
    size = path.stat().st_size
    vacuum.execute("VACUUM")
    vacuum.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    vacuum.close()
    assert path.stat().st_size < size
    store.insert(Conversation())
    store.check()
    store.close()
    second.close()
    integrity(path)


def test_a_change_of_the_head_alone_brings_back_a_conversation_that_is_gone() -> None:
    tree = titled("Now")
    keep(tree)
    tree.take_changes()
    delete_all(conversations_file())
    saver = Saver(lambda line: None)
    tree.rename("Renamed")
    saver.save(tree)
    saver.close()
    assert [(each.title, len(each.nodes)) for each in stored()] == [("Renamed", 2)]


def test_an_older_copy_in_its_place_gets_what_it_lacks_and_what_was_restored_stays() -> None:
    path, tree, restored = conversations_file(), titled("Now"), titled("Restored")
    keep(tree, restored)
    shutil.copyfile(path, path.with_name("copy.db"))
    store = Store(path)
    tree.add_prompt("more", tree.leaf)
    store.save(present(tree.take_changes()))
    store.delete(restored.id)
    store.restore(restored.id)
    path.with_name("copy.db").rename(path)
    with pytest.raises(DisplacedError) as refused:
        store.check()
    after = store.reopened(refused.value)
    assert present(after.load(tree.id)).everything() == tree.everything()
    assert {summary.title for summary in after.summaries()} == {"Now", "Restored"}
    after.close()
    integrity(path)


@pytest.mark.parametrize("closes", [False, True])
def test_the_end_of_the_old_one_takes_nothing_from_the_new_one(closes: bool) -> None:
    """SQLite deletes the log at the path when the last connection of a database is closed."""
    path = conversations_file()
    store = Store(path)
    store.save(present(titled("Now").take_changes()))
    delete_file(path)
    if closes:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()
        after = Store(path)
        store.close()
    else:
        with pytest.raises(DisplacedError) as refused:
            store.check()
        after = store.reopened(refused.value)
    after.save(present(titled("Later").take_changes()))
    assert "Later" in [each.title for each in stored()]
    after.close()
    assert "Later" in [each.title for each in stored()]


def test_a_database_that_was_moved_alone_has_all_that_was_saved_before() -> None:
    path = conversations_file()
    store = Store(path)
    store.save(present(titled("Now").take_changes()))
    path.rename(path.with_name("moved.db"))
    store.close()
    moved = Store(path.with_name("moved.db"))
    assert [summary.title for summary in moved.summaries()] == ["Now"]
    moved.close()


def test_a_conversation_without_answer_in_use_is_carried_too() -> None:
    """Loaded alone is in use: it may be on the screen."""
    tree = titled("Opened")
    tree.update_answer(tree.path[-1].id, TURN, [assistant("x")])
    keep(tree, titled("Closed"))
    store = Store(conversations_file())
    store.load(tree.id)
    delete_file(conversations_file())
    with pytest.raises(DisplacedError) as refused:
        store.check()
    after = store.reopened(refused.value)
    assert [summary.title for summary in after.summaries()] == ["Opened"]
    after.close()
