"""Ends the program when its terminal is gone: saves first, and waits for nothing else."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from types import FrameType

HUNG_UP = 128 + signal.SIGHUP
"""Exit code of a program whose terminal is gone."""
PATIENCE_S = 10.0
"""How long saving may take, in seconds."""


class HangUp:
    """Watches the terminal from `watch` on, until `restore` brings back the handlers there were at construction."""

    def __init__(self, save: Callable[[], Awaitable[None]]) -> None:
        self._save = save
        self._handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGCONT)}
        self._ending: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Notice from now on when the terminal is gone; to be called in the event loop that is to save.

        A program that was suspended meanwhile may get SIGCONT alone, and Textual's handler of that signal fails
        without a terminal to draw on.
        """
        loop, resume = asyncio.get_running_loop(), signal.getsignal(signal.SIGCONT)

        def continued(number: int, frame: FrameType | None) -> None:
            if not sys.stdin.isatty():
                self._gone(loop)
            elif callable(resume):
                resume(number, frame)

        signal.signal(signal.SIGHUP, lambda *_: self._gone(loop))
        signal.signal(signal.SIGCONT, continued)

    def restore(self) -> None:
        """Stop watching."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _gone(self, loop: asyncio.AbstractEventLoop) -> None:
        """Save and end, after PATIENCE_S at the latest: Textual would wait forever to write its last output."""
        last = threading.Timer(PATIENCE_S, os._exit, [HUNG_UP])
        last.daemon = True
        last.start()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._begin_to_end)

    def _begin_to_end(self) -> None:
        self._ending = asyncio.ensure_future(self._end())

    async def _end(self) -> None:
        await self._save()
        os._exit(HUNG_UP)
