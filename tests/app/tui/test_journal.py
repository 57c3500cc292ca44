"""The store as the chat uses it, without a screen: what is on the disk when, and what is said of what isn't."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from app.chat.conversation import Changes, Conversation
from app.paths import conversations_file
from app.store.errors import StoreError
from app.store.store import Store
from app.tui.parts.journal import Journal
from tests.fixtures.trees import keep, stored, titled

Said = list[tuple[str, str]]


@pytest.fixture
def said() -> Said:
    """What the journal has reported, with its levels."""
    return []


@pytest.fixture
async def journal(said: Said) -> AsyncIterator[Journal]:
    """One that is open."""
    journal = Journal(lambda line, level: said.append((line, level)))
    await journal.open()
    yield journal
    await journal.close()


class Disk:
    """Lets a test decide when and whether something is saved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Event()
        self.fails = False
        self._save: Callable[[Store, Changes], None] = Store.save
        monkeypatch.setattr(Store, "save", lambda store, changes: self._saved(store, changes))

    def _saved(self, store: Store, changes: Changes) -> None:
        self.begun.set()
        self.free.wait(120)
        if self.fails:
            raise StoreError("the disk is full")
        self._save(store, changes)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def titles() -> list[str]:
    """Of the conversations on the disk."""
    return [tree.title for tree in stored()]


async def turns() -> None:
    """Let all other tasks go on as far as they can without the disk."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_save_is_over_when_all_of_it_is_on_the_disk(journal: Journal, disk: Disk) -> None:
    tree = titled("Strawberry")
    disk.free.clear()
    first = asyncio.create_task(journal.save(tree))
    await asyncio.to_thread(disk.begun.wait, 10)
    second = asyncio.create_task(journal.save(tree))  # nothing has changed since; but it isn't there yet
    await turns()
    assert not first.done() and not second.done() and titles() == []
    disk.free.set()
    await second
    assert titles() == ["Strawberry"] and not journal.loses and journal.saves
    await first


async def test_what_waits_for_a_full_disk_is_listed_loaded_and_saved_later(
    journal: Journal, disk: Disk, said: Said
) -> None:
    disk.fails = True
    one, two = titled("one"), titled("two")
    await journal.save(one)
    await journal.save(two)
    assert [level for _, level in said] == ["error"] and "the disk is full" in said[0][0]
    assert journal.loses and not journal.saves
    assert [(each.title, each.count) for each in await journal.summaries()] == [("two", 2), ("one", 2)]
    assert [each.title for each in await journal.summaries(limit=1)] == ["two"]
    assert await journal.load(one.id) is one and titles() == []
    disk.fails = False
    await journal.flush()
    assert said[1:] == [("Saving works again; everything has been saved.", "info")]
    assert titles() == ["two", "one"] and journal.saves and not journal.loses
    assert len(await journal.summaries()) == 2


async def test_of_two_saves_at_a_time_none_says_that_what_failed_was_saved(
    journal: Journal, disk: Disk, said: Said
) -> None:
    disk.fails = True
    disk.free.clear()
    tree = titled("one")
    saves = [asyncio.create_task(journal.save(tree)) for _ in range(2)]
    await asyncio.to_thread(disk.begun.wait, 10)
    await turns()
    disk.free.set()
    await asyncio.gather(*saves)
    assert [level for _, level in said] == ["error"] and journal.loses and not journal.saves
    disk.fails = False


async def test_an_empty_conversation_is_not_listed(journal: Journal, disk: Disk) -> None:
    disk.fails = True
    tree = Conversation()
    tree.rename("empty")
    await journal.save(tree)
    assert journal.loses and await journal.summaries() == []
    disk.fails = False


async def test_a_deletion_is_undone_once_and_the_last_one_first(journal: Journal) -> None:
    trees = [titled("one"), titled("two")]
    for tree in trees:
        await journal.save(tree)
        await journal.delete(tree.id)
    assert titles() == []
    assert await journal.restore() == trees[1].id and titles() == ["two"]
    assert await journal.restore() == trees[0].id and titles() == ["two", "one"]
    assert await journal.restore() is None


async def test_the_deletion_of_what_was_never_saved_is_undone_too(journal: Journal, disk: Disk) -> None:
    disk.fails = True
    tree = titled("one")
    await journal.save(tree)
    await journal.delete(tree.id)
    assert not journal.loses and await journal.summaries() == []
    disk.fails = False
    assert await journal.restore() == tree.id
    assert journal.loses
    await journal.flush()
    assert titles() == ["one"]


async def test_closing_saves_what_is_left_and_makes_deletions_final(said: Said, disk: Disk) -> None:
    journal = Journal(lambda line, level: said.append((line, level)))
    await journal.open()
    gone, left = titled("gone"), titled("left")
    await journal.save(gone)
    await journal.delete(gone.id)
    disk.fails = True
    await journal.save(left)
    disk.fails = False
    await journal.close()
    await journal.close()
    assert titles() == ["left"]
    store = Store(conversations_file())
    store.restore(gone.id)
    assert store.load(gone.id) is None
    store.close()


async def test_after_the_end_nothing_is_saved_and_nothing_raises(said: Said) -> None:
    journal = Journal(lambda line, level: said.append((line, level)))
    await journal.open()
    await journal.close()
    tree = titled("late")
    await journal.save(tree)
    await journal.rename(tree.id, "later")
    await journal.set_draft("", "draft")
    assert await journal.draft("") == "" and await journal.instructions("") is None and await journal.prompts() == []
    assert journal.loses and said == []
    with pytest.raises(StoreError, match="closed"):
        await journal.load("other")


async def test_everything_waits_until_it_is_open(said: Said) -> None:
    keep(titled("here"))
    journal = Journal(lambda line, level: said.append((line, level)))
    waiting = asyncio.create_task(journal.summaries())
    await turns()
    assert not waiting.done() and not journal.saves
    await journal.open()
    assert [each.title for each in await waiting] == ["here"] and said == [] and journal.saves
    await journal.close()


async def test_one_that_was_never_opened_closes_at_once(said: Said) -> None:
    await asyncio.wait_for(Journal(lambda line, level: said.append((line, level))).close(), 120)
    assert said == []


async def test_drafts_and_instructions_are_those_of_their_conversation(journal: Journal) -> None:
    tree = titled("one")
    await journal.save(tree)
    await journal.set_draft("", "of none")
    await journal.set_draft(tree.id, "of one")
    await journal.set_instructions(tree.id, "be brief")
    await journal.rename(tree.id, "uno")
    assert (await journal.draft(""), await journal.draft(tree.id)) == ("of none", "of one")
    assert (await journal.instructions(tree.id), await journal.instructions("other")) == ("be brief", None)
    assert titles() == ["uno"] and await journal.prompts() == ["one"]
    assert [hit.conversation for hit in await journal.search("answer")] == [tree.id]
