"""Where a server is, and whether words may go there without encryption."""

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from app.lines import one_line
from mlx_model.errors import RequestError

_LOCAL = (".local", ".localhost")
"""Ends of names that are found in the own network alone."""


@dataclass(frozen=True, slots=True)
class Address:
    """The `base` of a server's URLs, without /v1 and a slash at its end; `host` is for people, with a port that says
    something."""

    base: str
    host: str
    is_https: bool

    @property
    def name(self) -> str:
        """The host alone, as it is looked up."""
        return urlsplit(self.base).hostname or ""


def read_address(text: str) -> Address:
    """The address that a person has written: http or https, a host, perhaps a port and a path. Raises RequestError."""
    shown = one_line(text)[:200]
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError as error:
        raise RequestError(f"{shown!r} is no address of a server: {error}") from None
    if parts.scheme not in ("http", "https") or not name or not url.isprintable() or " " in url:
        raise RequestError(f"{shown!r} is no address of a server; write it as in http://mini.local:8080")
    if parts.username is not None or parts.password is not None:
        raise RequestError("the address has a name or password in it; a token belongs into --token-file")
    if parts.query or parts.fragment:
        raise RequestError(f"{shown!r} has more than an address: leave out what follows the ? or #")
    host = f"[{name}]" if ":" in name else name
    place = host if port is None else f"{host}:{port}"
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Address(f"{parts.scheme}://{place}{path}", place, parts.scheme == "https")


async def check_open_air(address: Address) -> None:
    """Raises RequestError where prompts and the token would cross the internet for everyone on the way to read.

    Without encryption only this computer and networks of one's own will do (private addresses, those of a VPN, and
    names that only these know): a warning would not call back what is sent. A host that can't be found passes: it will
    not be reached either.
    """
    name = address.name
    if address.is_https or name == "localhost" or name.endswith(_LOCAL):
        return
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for *_, (where, *_) in found:
        if ip_address(str(where).partition("%")[0]).is_global:
            raise RequestError(
                f"{address.host} is outside your network, and http is not encrypted: everyone on the way could read "
                f"what you write. Use https, or a tunnel: ssh -L 8080:localhost:8080 {name}"
            )
