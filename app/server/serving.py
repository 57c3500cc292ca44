"""Listens, until a signal comes: then every client that waits or reads gets its last event before the process ends."""

import asyncio
import os
import resource
import signal
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from app.server.guard import App
from mlx_model.errors import RequestError

_BACKLOG = 256
_MOST_FILES = 8192
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


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 is any that is free. Raises RequestError."""
    if not 0 <= port < 1 << 16:  # some systems take the rest of it
        raise RequestError(f"{port} is no port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise RequestError(f"can't listen at {host}, port {port}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


def listen_at_path(path: Path) -> socket.socket:
    """A Unix socket in a folder that its owner alone can enter; a folder that isn't there is made. Raises RequestError.

    Who can't enter the folder can't connect, whatever the mode of the socket is.
    """
    folder = path.absolute().parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
        if facts.st_mode & 0o077 or facts.st_uid != os.getuid():
            raise RequestError(f"others can enter {folder}: give the socket a folder of its own (chmod 700)")
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            _remove_if_unused(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise RequestError(f"can't listen at {path}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


def _remove_if_unused(path: Path) -> None:
    """Removes a socket that a server which was killed has left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise RequestError(f"another server listens at {path}")


def allow_many_connections() -> None:
    """Raises the number of files that this process may open, 256 on a Mac, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
