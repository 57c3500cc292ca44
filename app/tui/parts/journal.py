"""The store as the chat uses it: on a thread of its own, and a chat that goes on when nothing can be saved."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from app.chat.conversation import Conversation
from app.lines import sentence
from app.paths import conversations_file
from app.store.errors import StoreError
from app.store.unsaved import Unsaved

if TYPE_CHECKING:  # the store comes with SQLite, and is opened after the first screen
    from app.store.exchange.result import ImportResult
    from app.store.merging import Insertion
    from app.store.search import SearchHit
    from app.store.store import Store, Summary

T = TypeVar("T")

MEANWHILE = "The chat continues, and everything on the screen is kept"


class Journal:
    """Saves conversations. Only what reads and `import_files` raise StoreError: else `report` gets a sentence and a
    level, once.

    What could not be saved is kept, and tried again with every later save. A home that can't be written is replaced by
    a copy of it in memory, so that list and search go on to work until the program ends; one whose file is gone while
    the chat runs, by a new one in the same place, with the conversations of this sitting.
    """

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        # One thread: SQLite's connection belongs to it, and writes stay in order. A commit waits for the disk.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: Store | None = None
        self._unreadable: StoreError | None = None  # why earlier conversations can't be read
        self._unsaved = Unsaved(self._say, MEANWHILE)
        self._deleted: list[tuple[str, Conversation | None]] = []
        self._opening = False
        self._opened = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._passing = False
        self._displaced = False  # and no new one could be made
        self._news: list[tuple[str, str]] = []  # of the thread, to be reported
        self.last_words = ""
        """What a person should read once the screen is gone, "" for nothing."""
        self._closed = self._ended = False

    @property
    def saves(self) -> bool:
        """Whether what was written so far is on a disk."""
        return self._store is not None and self._store.saves and not self._unsaved.failing

    @property
    def loses(self) -> bool:
        """Whether something that was written would be gone if the program ended now."""
        return bool(self._unsaved) or self._passing or self._displaced

    async def open(self) -> None:
        """Open the store; everything else waits for it."""
        self._opening = True
        try:
            line, level = await self._run(self._open), "warning"
        except StoreError as error:
            line, level = f"{error}. {MEANWHILE} until you quit, but nothing is saved", "error"
        finally:
            self._opened.set()
        if line:
            self._say(line, level)

    def _say(self, line: str, level: str) -> None:
        self._report(sentence(line), level)

    def _open(self) -> str:
        from app.store.store import Store

        path = conversations_file()
        try:
            self._store = Store(path)
        except StoreError as error:
            return f"conversations are not saved: {error}. {self._open_in_memory(path)}"
        return self._store.warning

    def _open_in_memory(self, path: Path) -> str:
        from app.store.store import Store

        line = f"{MEANWHILE} in memory until you quit"
        try:
            self._store = Store.in_memory(copy_of=path)
        except StoreError as error:
            self._store, self._unreadable = Store.in_memory(), error
            line += "; earlier conversations can't be read"
        return line

    async def close(self) -> None:
        """Save what is left, make deletions final, let the store go. Closing twice is the same as once."""
        if self._closed or not self._opening:
            return
        self._closed = True
        await self.flush()
        if self._deleted:
            ids = [id for id, _ in self._deleted]
            await self._try(lambda store: store.purge(ids), None)
        await self._try(lambda store: store.close(), None)
        self._ended = True
        self._thread.shutdown()

    # Conversations

    async def save(self, conversation: Conversation) -> None:
        """Write what has changed in it; it is on the disk when this returns, unless `report` got a sentence."""
        self._unsaved.add(conversation)
        await self.flush()

    async def flush(self) -> None:
        """Try again to save what could not be saved."""
        await self._opened.wait()
        async with self._flushing:
            try:
                for conversation in [] if self._ended else self._unsaved:
                    await self._write(conversation)
                if not self._ended:
                    await self._do(lambda store: store.check())
            except StoreError as error:
                self._unsaved.fail(error)
                return
        self._unsaved.recover()

    async def _write(self, conversation: Conversation) -> None:
        with self._unsaved.writing(conversation) as write:
            if write is not None:
                await self._do(write)
                self._passing |= self._store is not None and not self._store.saves

    async def load(self, id: str) -> Conversation | None:
        """A conversation, with what of it could not be saved; None if it is gone. Raises StoreError."""
        return self._unsaved.get(id) or await self._do(lambda store: store.load(id))

    async def summaries(self, limit: int | None = None) -> "list[Summary]":
        """All conversations, or the first so many, the latest first; unsaved ones too. Raises StoreError."""
        saved = await self._do(lambda store: store.summaries(limit))
        if self._unreadable is not None and not saved:
            raise self._unreadable
        from app.store.store import Summary

        known = {summary.id for summary in saved}
        unsaved = [
            Summary(each.id, each.title, each.created, each.updated, len(each.nodes), each.preview)
            for each in self._unsaved
            if each.id not in known and each.nodes
        ]
        return sorted(unsaved + saved, key=lambda summary: -summary.updated)[:limit]

    async def search(self, text: str) -> "list[SearchHit]":
        """See Store.search."""
        hits = await self._do(lambda store: store.search(text))
        if self._unreadable is not None and not hits:
            raise self._unreadable
        return hits

    async def rename(self, id: str, title: str) -> None:
        """Give a conversation that isn't on the screen another title."""
        await self._try(lambda store: store.rename(id, title), None)

    async def delete(self, id: str) -> None:
        """Delete a conversation; `restore` undoes it until the program ends."""
        self._deleted.append((id, self._unsaved.remove(id)))
        await self._try(lambda store: store.delete(id), None)

    async def restore(self) -> str | None:
        """Undo the last deletion; the id of the conversation that is back, None if there is nothing to undo."""
        if not self._deleted:
            return None
        id, unsaved = self._deleted.pop()
        if unsaved is not None:
            self._unsaved.add(unsaved)
        await self._try(lambda store: store.restore(id), None)
        return id

    async def import_files(self, paths: Sequence[Path]) -> "ImportResult":
        """Add the conversations of files; returns what was done. Raises StoreError.

        One at a time, so that an answer under way is saved in between, and files may be larger than the memory.
        """
        await self._opened.wait()
        from app.store.exchange.importing import read
        from app.store.exchange.result import ImportResult

        result = ImportResult()
        for path in paths:
            conversations = read(path, result)
            while not self._closed and (each := await asyncio.to_thread(next, conversations, None)) is not None:
                try:
                    if not self._closed:
                        result.inserted(await self._do(partial(_insert, conversation=each)), each)
                except StoreError as error:
                    raise result.stopped(error) from None
        return result

    async def prompts(self) -> list[str]:
        """See Store.prompts."""
        return await self._try(lambda store: store.prompts(), [])

    # What else a conversation has

    async def set_draft(self, conversation: str, text: str) -> None:
        """See Store.set_draft."""
        await self._try(lambda store: store.set_draft(conversation, text), None)

    async def draft(self, conversation: str) -> str:
        """See Store.draft."""
        return await self._try(lambda store: store.draft(conversation), "")

    async def set_instructions(self, conversation: str, text: str) -> None:
        """See Store.set_instructions."""
        await self._try(lambda store: store.set_instructions(conversation, text), None)

    async def instructions(self, conversation: str) -> str | None:
        """See Store.instructions."""
        return await self._try(lambda store: store.instructions(conversation), None)

    async def set_tools(self, conversation: str, names: Sequence[str]) -> None:
        """See Store.set_tools."""
        await self._try(lambda store: store.set_tools(conversation, names), None)

    async def tools(self, conversation: str) -> tuple[str, ...]:
        """See Store.tools."""
        return await self._try(lambda store: store.tools(conversation), ())

    # The thread

    def _connected(self) -> "Store":
        if self._store is None:
            raise StoreError("the file of the conversations could not be opened")
        return self._store

    async def _run(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)

    async def _do(self, action: Callable[["Store"], T]) -> T:
        """Do this with the store, on its thread. Raises StoreError."""
        await self._opened.wait()
        if self._ended:
            raise StoreError("the conversations are closed")
        try:
            return await self._run(lambda: self._act(action))
        finally:
            while self._news:
                self._say(*self._news.pop(0))

    def _act(self, action: Callable[["Store"], T]) -> T:
        from app.store.opened import DisplacedError

        try:
            return action(self._connected())
        except DisplacedError as why:
            self._displaced = True
            self._store = self._connected().reopened(why)
            self._displaced = False
            self.last_words = sentence(self._store.warning)
            self._news.append((self._store.warning, "error"))
            return action(self._store)

    async def _try(self, action: Callable[["Store"], T], otherwise: T) -> T:
        await self._opened.wait()
        if self._ended:  # a timer or a worker of an app that is about to be gone
            return otherwise
        try:
            return await self._do(action)
        except StoreError as error:
            self._unsaved.fail(error)
            return otherwise


def _insert(store: "Store", conversation: Conversation) -> "Insertion":
    return store.insert(conversation)
