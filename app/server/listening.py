"""Where a server listens: a port, or a Unix socket. Loads no HTTP, since the chat listens before its first screen."""

import errno
import os
import resource
import socket
import stat
from importlib.util import find_spec
from pathlib import Path

from mlx_model.errors import RequestError
from mlx_model.extras import install_line

_BACKLOG = 256
_MOST_FILES = 8192


def check_installed() -> None:
    """Raises RequestError where a server lacks what it needs."""
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise RequestError(f"the server needs {missing[0]}; install it: {install_line('server')}")


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
        other = "; --port chooses another" if error.errno == errno.EADDRINUSE else ""
        raise RequestError(f"can't listen at {host}, port {port}: {error.strerror or error}{other}") from None
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
