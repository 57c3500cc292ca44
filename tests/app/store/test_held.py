"""A database that another program keeps to itself, or on a disk without locks: said in time, never taken for empty."""

import asyncio
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.main import main
from app.paths import conversations_file
from app.store import database
from app.store.errors import UnwritableError
from app.store.store import Store
from app.tui.parts.journal import Journal
from tests.fixtures.fakes import FakeEngine, app_of, ask, chat, idle, opened, text_on, wait_until
from tests.fixtures.trees import keep, stored, titled


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.01)
    monkeypatch.setattr(database, "COPY_S", 0.01)


@pytest.fixture
def held() -> Iterator[Path]:
    """The database with one conversation, which another program keeps to itself."""
    keep(titled("Strawberry"))
    path = conversations_file()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    yield path
    other.close()


COMMANDS = [["list"], ["list", "--json"], ["search", "Strawberry"], ["export"], ["export", "--all"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_say_so_and_fail(held: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1
    assert f"{held} can't be opened: another program has kept it locked" in errors


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_while_another_program_only_writes_commands_read(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    keep(titled("Strawberry"))
    other = sqlite3.connect(conversations_file(), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert main(command) == 0 and "Strawberry" in capsys.readouterr().out
    other.close()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_is_named(held: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says of it what it says of a database that is locked."""

    def refuse(file: object, operation: int) -> None:
        raise OSError(code, "no locks")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(UnwritableError, match=f"the disk of {held.parent} has no file locks.*GPTOSS_CHAT_HOME"):
        Store(held)


def test_a_lock_that_the_disk_has_is_not_blamed_on_it(held: Path) -> None:
    with pytest.raises(UnwritableError, match="another program has kept it locked"):
        Store(held)


async def test_the_chat_goes_on_in_memory_and_quits(held: Path) -> None:
    engine = FakeEngine()
    async with chat(engine, size=(120, 40)) as pilot:
        await wait_until(pilot, lambda: "Conversations are not saved" in text_on(pilot))
        await idle(pilot)
        screen = " ".join(text_on(pilot).split())
        assert "No conversations yet" not in screen and "can't be read" in screen
        await pilot.press("ctrl+f", *"berry")
        await pilot.pause(0.3)
        assert "Nothing found" not in text_on(pilot)
        await pilot.press("escape", "escape")
        await ask(pilot, engine, "one", "first")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: app_of(pilot).conversation.messages == [])
        await opened(pilot, "one")
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: "quits without saving" in text_on(pilot))
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running)


async def test_a_database_that_is_held_later_delays_saving_and_loses_nothing() -> None:
    lines: list[str] = []
    journal = Journal(lambda text, level: lines.append(text))
    await journal.open()
    other = sqlite3.connect(conversations_file(), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    tree = titled("Strawberry")
    await journal.save(tree)
    assert "another program has kept it locked" in lines[0] and journal.loses
    other.execute("ROLLBACK")
    other.close()
    await asyncio.wait_for(journal.flush(), 120)
    assert not journal.loses and lines[1:] == ["Saving works again; everything has been saved."]
    await journal.close()
    assert [each.title for each in stored()] == ["Strawberry"]


async def test_what_cannot_be_read_is_not_called_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(titled("Strawberry"))
    async with chat(FakeEngine(), size=(120, 40)) as pilot:
        await idle(pilot)

        def fail(store: Store, id: str) -> None:
            raise UnwritableError("conversations.db can't be read: the disk is gone")

        monkeypatch.setattr(Store, "load", fail)
        await app_of(pilot).conversations.open(stored_id())
        await wait_until(pilot, lambda: "the disk is gone" in " ".join(text_on(pilot).split()))
        assert "no longer exists" not in text_on(pilot)


def stored_id() -> str:
    store = Store(conversations_file())
    (summary,) = store.summaries()
    store.close()
    return summary.id


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_ordinary_file_is_named(home: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir()
    path = conversations_file()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/null")
    assert main(["list"]) == 1
    assert "yet" not in capsys.readouterr().err
