"""Joins many small updates into few: more than ten a second are invisible, and each costs layout time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import monotonic

INTERVAL_S = 0.1
REST = 3.0
"""A flush is followed by a rest this many times as long: even a long open table takes at most a quarter of the time."""


class Coalescer:
    """Calls `flush` soon after `poke`, but never again before the interval is over, and not at all when idle."""

    def __init__(self, flush: Callable[[], Awaitable[None]], interval_s: float = INTERVAL_S) -> None:
        self._flush = flush
        self._interval_s = interval_s
        self._poked = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def poke(self) -> None:
        """There is something to show. The first poke after a pause is followed up at once."""
        self._poked.set()

    async def close(self) -> None:
        """Stop; what is left is flushed. Raises what a flush raised."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        if self._poked.is_set():
            await self._flush()

    async def _run(self) -> None:
        while True:
            await self._poked.wait()
            self._poked.clear()
            started = monotonic()
            flushing = asyncio.ensure_future(self._flush())
            try:
                await asyncio.shield(flushing)
            except asyncio.CancelledError:
                await flushing  # half an update must not stay on the screen
                raise
            await asyncio.sleep(max(self._interval_s, REST * (monotonic() - started)))
