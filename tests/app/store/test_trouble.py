"""The chat when nothing can be saved, or what was saved can't be read; and saves that overlap."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from app.chat.conversation import Changes, Conversation, Node
from app.paths import conversations_file
from app.store.errors import StoreError
from app.store.store import Store
from app.tui.app import ChatApp
from app.tui.parts.journal import Journal
from app.tui.widgets.notice import Notice
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, desk_of, idle, opened, send, text_on, wait_until
from tests.fixtures.trees import branched, keep, stored, titled

WIDE = (120, 40)


async def test_a_full_disk_says_so_once_keeps_everything_and_saves_it_later() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await ask(pilot, engine, "one", "first")
        await execute(app, "PRAGMA max_page_count = 1")
        await ask(pilot, engine, "two " * 3000, "second " * 3000)
        await ask(pilot, engine, "three", "third")
        app.desk.transcript.scroll_home(animate=False)
        await wait_until(pilot, lambda: "not saved" in text_on(pilot) and not app.desk.status.saves)
        notices = [str(notice.visual) for notice in app.query("Notice.-error").results(Notice)]
        assert len(notices) == 1 and "the disk is full" in notices[0]
        assert len(stored()[0].nodes) == 2
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: app.conversation.messages == [])
        await opened(pilot, "one")  # from memory
        assert len(app.conversation.nodes) == 6
        await execute(app, "PRAGMA max_page_count = 1000000")
        await ask(pilot, engine, "four", "fourth")
        await wait_until(pilot, lambda: len(stored()[0].nodes) == 8 and app.desk.status.saves)
        await wait_until(pilot, lambda: "Saving works again" in text_on(pilot))


async def test_quitting_says_first_what_it_would_lose(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        app = app_of(pilot)
        await ask(pilot, engine, "one", "first")
        await execute(app, "PRAGMA max_page_count = 1")
        await ask(pilot, engine, "two " * 3000, "second " * 3000)
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: "quits without saving" in text_on(pilot))
        await send(pilot, f"/export {tmp_path / 'kept.md'}")
        await wait_until(pilot, (tmp_path / "kept.md").exists)
        assert app.is_running and "second" in (tmp_path / "kept.md").read_text()
        await execute(app, "PRAGMA max_page_count = 1000000")  # there is room again, so nothing is lost any more
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not app.is_running)
    assert len(stored()[0].nodes) == 4


async def execute(app: ChatApp, statement: str) -> None:
    """Run a statement on the app's own connection, on its thread."""
    journal = app.journal
    await journal._run(lambda: journal._connected()._connection.execute(statement).fetchall())


async def test_a_home_that_cannot_be_written_says_so_and_the_chat_goes_on(home: Path) -> None:
    home.write_text("a file where the folder should be")
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: "Conversations are not saved" in text_on(pilot))
        await idle(pilot)
        assert "not saved" in text_on(pilot).splitlines()[0]
        await ask(pilot, engine, "one", "first")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: app_of(pilot).conversation.messages == [])
        await opened(pilot, "one")
        assert "first" in text_on(pilot)
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: "quits without saving" in text_on(pilot))
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running)
    assert home.read_text() == "a file where the folder should be"


async def test_a_newer_database_is_left_alone_and_said_so() -> None:
    keep(titled("From the future"))
    with sqlite3.connect(conversations_file()) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: "newer gptoss-chat" in text_on(pilot))
        await idle(pilot)
        await ask(pilot, engine, "one", "first")
    with sqlite3.connect(conversations_file()) as connection:
        assert connection.execute("SELECT title FROM conversations").fetchall() == [("From the future",)]
    connection.close()


async def test_a_damaged_database_is_set_aside_and_said_so() -> None:
    keep(titled("Lost"))
    conversations_file().write_bytes(b"rubbish" * 1000)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await wait_until(pilot, lambda: "damaged-" in text_on(pilot))
        await idle(pilot)
        await ask(pilot, engine, "one", "first")
        await wait_until(pilot, lambda: len(stored()[0].nodes) == 2)
    assert len(list(conversations_file().parent.glob("*damaged*"))) == 1


async def test_a_conversation_that_another_program_deleted_meanwhile() -> None:
    keep(titled("Shared"), titled("Gone"))
    engine = FakeEngine()
    async with chat(engine, size=WIDE) as pilot:
        await opened(pilot, "Shared")
        store = Store(conversations_file())
        for summary in store.summaries():
            store.delete(summary.id)
            store.purge([summary.id])
        store.close()
        app_of(pilot).set_focus(desk_of(pilot).sidebar.list)
        desk_of(pilot).sidebar.list.highlighted = next(
            i for i, place in enumerate(desk_of(pilot).sidebar.list.entries) if place and place.title == "Gone"
        )
        await pilot.press("enter")
        await wait_until(pilot, lambda: "no longer exists" in text_on(pilot))
        assert app_of(pilot).conversation.title == "Shared" and "answer 0" in text_on(pilot)
        await ask(pilot, engine, "go on", "here")
        await wait_until(pilot, lambda: stored() and len(stored()[0].nodes) == 4)


async def test_saves_that_overlap_lose_nothing() -> None:
    told: list[str] = []
    journal = Journal(lambda text, level: told.append(text))
    tree = Conversation()
    saves = []
    opening = asyncio.create_task(journal.open())
    for number in range(20):
        tree.add_prompt(f"prompt {number}", tree.leaf)
        saves.append(asyncio.create_task(journal.save(tree)))
        await asyncio.sleep(0.001 * (number % 3))
    await asyncio.gather(opening, *saves)
    await journal.close()
    assert [len(found.nodes) for found in stored()] == [20] and told == []
    assert all(isinstance(node, Node) for node in stored()[0].path)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_save_returns_only_when_it_is_on_the_disk_though_another_save_writes_it(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    journal, tree, go = Journal(lambda text, level: None), titled("Slow"), threading.Event()
    await journal.open()
    save = Store.save

    def held(store: Store, changes: Changes) -> None:
        go.wait()
        monkeypatch.setattr(Store, "save", save)
        if fails:
            raise StoreError("the disk is full")
        save(store, changes)

    monkeypatch.setattr(Store, "save", held)
    first, second = (asyncio.create_task(journal.save(tree)) for _ in range(2))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done() and not second.done() and stored() == []
    go.set()
    await second
    assert [each.title for each in stored()] == ["Slow"] and not journal.loses
    await first
    await journal.close()


async def test_a_conversation_deleted_during_a_save_that_fails_stays_deleted_until_the_undo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = Journal(lambda text, level: None)
    await journal.open()
    deleted, other = titled("Deleted"), titled("Other")
    saving, go = threading.Event(), threading.Event()

    def fail(store: Store, changes: Changes) -> None:
        saving.set()
        go.wait()
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "save", fail)
        failing = asyncio.create_task(journal.save(deleted))
        await asyncio.to_thread(saving.wait)
        deleting = asyncio.create_task(journal.delete(deleted.id))
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(failing, deleting)
    await journal.save(other)
    assert [found.title for found in stored()] == ["Other"]
    assert await journal.restore() == deleted.id
    await journal.flush()
    await journal.close()
    assert {found.title for found in stored()} == {"Deleted", "Other"}


async def test_a_save_that_is_given_up_is_made_good_by_the_next() -> None:
    journal = Journal(lambda text, level: None)
    await journal.open()
    tree = branched()
    go = threading.Event()
    holding = asyncio.create_task(journal._run(go.wait))  # the thread is busy, the save waits for it
    saving = asyncio.create_task(journal.save(tree))
    await asyncio.sleep(0.01)
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)
    go.set()
    await holding
    assert stored() == []
    await journal.save(tree)
    await journal.close()
    assert [found.everything() for found in stored()] == [tree.everything()]
