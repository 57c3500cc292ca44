"""Saving for the plain chat: what could not be saved is told once, kept, and saved later."""

from pathlib import Path

import pytest

from app.chat.conversation import Changes, Conversation
from app.paths import conversations_file
from app.store.errors import StoreError
from app.store.saver import Saver
from app.store.store import Store


def prompts() -> dict[str, int]:
    """The number of nodes of each conversation on the disk, by title."""
    store = Store(conversations_file())
    found = {summary.title: summary.count for summary in store.summaries()}
    store.close()
    return found


def fail(store: Store, changes: Changes) -> None:
    """Stands in for Store.save."""
    raise StoreError("the disk is full")


def interrupt(store: Store, changes: Changes) -> None:
    """Stands in for Store.save."""
    raise KeyboardInterrupt


def test_what_fails_is_told_once_and_saved_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    saver, first, second = Saver(told.append), Conversation(), Conversation()
    save = Store.save
    monkeypatch.setattr(Store, "save", fail)
    first.add_prompt("one", None)
    saver.save(first)
    first.add_prompt("more", first.leaf)
    saver.save(first)
    second.add_prompt("two", None)
    saver.save(second)
    assert len(told) == 1 and told[0].startswith("not saved: the disk is full") and prompts() == {}
    monkeypatch.setattr(Store, "save", save)
    saver.save(second)
    assert told[1:] == ["saving works again; everything has been saved"]
    assert prompts() == {"one": 2, "two": 1}
    saver.close()


def test_the_end_tries_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    saver, chat = Saver(told.append), Conversation()
    with monkeypatch.context() as patched:
        patched.setattr(Store, "save", fail)
        chat.add_prompt("one", None)
        saver.save(chat)
    saver.close()
    assert len(told) == 2 and prompts() == {"one": 1}


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_interrupted_save_is_done_with_the_next_or_at_the_end(
    monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    saver, chat = Saver(print), Conversation()
    chat.add_prompt("one", None)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            saver.save(chat)
    if goes_on:
        saver.save(chat)
    saver.close()
    assert prompts() == {"one": 1}


def test_a_conversation_that_another_program_has_deleted_comes_back_whole() -> None:
    told: list[str] = []
    saver, chat = Saver(told.append), Conversation()
    chat.add_prompt("one", None)
    saver.save(chat)
    other = Store(conversations_file())
    other.delete(chat.id)
    other.purge([chat.id])
    other.close()
    chat.add_prompt("more", chat.leaf)
    saver.save(chat)
    saver.close()
    assert told == [] and prompts() == {"one": 2}


def test_without_a_store_the_chat_goes_on(home: Path) -> None:
    home.write_text("a file where the folder should be")
    told: list[str] = []
    saver, chat = Saver(told.append), Conversation()
    chat.add_prompt("one", None)
    saver.save(chat)
    saver.close()
    [line] = told
    assert line.startswith("conversations are not saved: ") and line.endswith("The chat continues")


def test_the_last_conversation_is_none_where_there_is_none_or_no_store(home: Path) -> None:
    saver, chat = Saver(list[str]().append), Conversation()
    assert saver.last() is None
    chat.add_prompt("one", None)
    saver.save(chat)
    last = saver.last()
    assert last is not None and last.id == chat.id
    saver.close()
    conversations_file().unlink()
    conversations_file().mkdir()
    assert Saver(list[str]().append).last() is None


def test_a_damaged_store_is_set_aside_and_told(home: Path) -> None:
    home.mkdir()
    conversations_file().write_bytes(b"no database " * 1000)
    told: list[str] = []
    Saver(told.append).close()
    assert "the file is damaged. It was kept as" in told[0]
