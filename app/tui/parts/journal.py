"""The store as the chat uses it: on a thread of its own, and a chat that goes on when nothing can be saved."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.chat.conversation import Conversation
from app.lines import sentence
from app.paths import conversations_file
from app.store.database import StoreError
from app.store.exchange.importing import read
from app.store.exchange.result import ImportResult
from app.store.search import SearchHit
from app.store.store import Insertion, Store, Summary
from app.store.unsaved import Unsaved

T = TypeVar("T")

MEANWHILE = "The chat continues, and everything on the screen is kept"


class Journal:
    """Saves conversations. Only `import_files` raises StoreError: else `report` gets a sentence and a level, once.

    What could not be saved is kept, and tried again with every later save. A home that can't be written is replaced by
    a copy of it in memory, so that list and search go on to work until the program ends.
    """

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        # One thread: SQLite's connection belongs to it, and writes stay in order. A commit waits for the disk.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._store: Store | None = None
        self._unsaved = Unsaved(self._say, MEANWHILE)
        self._deleted: list[tuple[str, Conversation | None]] = []
        self._opening = False
        self._opened = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._passing = False
        self._closed = self._ended = False

    @property
    def saves(self) -> bool:
        """Whether what was written so far is on a disk."""
        return self._store is not None and self._store.saves and not self._unsaved.failing

    @property
    def loses(self) -> bool:
        """Whether something that was written would be gone if the program ended now."""
        return bool(self._unsaved) or self._passing

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
        path = conversations_file()
        try:
            self._store = Store(path)
        except StoreError as error:
            self._store = Store.in_memory(copy_of=path)
            return f"conversations are not saved: {error}. {MEANWHILE} in memory until you quit"
        return self._store.warning

    async def close(self) -> None:
        """Save what is left, make deletions final, let the store go. Closing twice is the same as once."""
        if self._closed or not self._opening:
            return
        self._closed = True
        await self.flush()
        if self._deleted:
            ids = [id for id, _ in self._deleted]
            await self._try(lambda store: store.purge(ids), None)
        await self._try(Store.close, None)
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
            except StoreError as error:
                self._unsaved.fail(error)
                return
        self._unsaved.recover()

    async def _write(self, conversation: Conversation) -> None:
        with self._unsaved.writing(conversation) as write:
            if write is not None:
                await self._run(lambda: write(self._connected()))
                self._passing |= self._store is not None and not self._store.saves

    async def load(self, id: str) -> Conversation | None:
        """A conversation, with what of it could not be saved; None if it is gone."""
        return self._unsaved.get(id) or await self._try(lambda store: store.load(id), None)

    async def summaries(self) -> list[Summary]:
        """All conversations, the latest first; those that could not be saved too."""
        saved: list[Summary] = await self._try(Store.summaries, [])
        known = {summary.id for summary in saved}
        unsaved = [
            Summary(each.id, each.title, each.created, each.updated, len(each.nodes))
            for each in self._unsaved
            if each.id not in known and each.nodes
        ]
        return sorted(unsaved + saved, key=lambda summary: -summary.updated)

    async def search(self, text: str) -> list[SearchHit]:
        """See Store.search."""
        return await self._try(lambda store: store.search(text), [])

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

    async def import_files(self, paths: Sequence[Path]) -> ImportResult:
        """Add the conversations of files; returns what was done. Raises StoreError.

        One at a time, so that an answer under way is saved in between, and files may be larger than the memory.
        """
        await self._opened.wait()
        result = ImportResult()
        for path in paths:
            conversations = read(path, result)
            while not self._closed and (each := await asyncio.to_thread(next, conversations, None)) is not None:
                try:
                    if not self._closed:
                        result.inserted(await self._run(partial(self._insert, each)), each)
                except StoreError as error:
                    raise result.stopped(error) from None
        return result

    def _insert(self, conversation: Conversation) -> Insertion:
        return self._connected().insert(conversation)

    async def prompts(self) -> list[str]:
        """See Store.prompts."""
        return await self._try(Store.prompts, [])

    # Drafts and instructions

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

    # The thread

    def _connected(self) -> Store:
        if self._store is None:
            raise StoreError("the file of the conversations could not be opened")
        return self._store

    async def _run(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)

    async def _try(self, action: Callable[[Store], T], otherwise: T) -> T:
        await self._opened.wait()
        if self._ended:  # a timer or a worker of an app that is about to be gone
            return otherwise
        try:
            return await self._run(lambda: action(self._connected()))
        except StoreError as error:
            self._unsaved.fail(error)
            return otherwise
