"""Serves, until a signal comes: then every client that waits or reads gets its last event before the process ends."""

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn

from app.server.guard import App

_KEEP_ALIVE_S = 75
_END_S = 5
"""How long clients may take to read their last events."""
_MOST_HEADERS = 1 << 16
"""Bytes of a request's line and headers."""


class Server(uvicorn.Server):
    """Uvicorn, which lets answers end before it closes connections: `stop` is called first."""

    def __init__(self, app: App, stop: Callable[[], Awaitable[None]]) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_END_S,
            h11_max_incomplete_event_size=_MOST_HEADERS,
        )
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Called by uvicorn while it serves. Its own raises the signal once more, before anything else has ended."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn when a signal has come."""
        await self._stop()
        await super().shutdown(sockets)


async def serve(server: Server, listener: socket.socket, load: Callable[[], Awaitable[object]]) -> None:
    """Serves while the model loads, and then until a signal. Raises what `load` does."""
    loading = asyncio.ensure_future(load())
    serving = asyncio.ensure_future(server.serve([listener]))
    try:
        await asyncio.wait((loading, serving), return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and not loading.cancelled() and loading.exception() is not None:
            server.should_exit = True
        await serving
    finally:
        if not loading.done():
            loading.cancel()
    if loading.done() and not loading.cancelled():
        loading.result()
