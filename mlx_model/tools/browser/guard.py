"""Which computers a page may be fetched from: those of the internet, none of the network that this one is in.

The guard is on the connection: a name is resolved once, every address it has is judged, and the connection goes to the
one that was judged. A name that means something else a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import httpcore2

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]
"""The addresses of a host, as texts. Raises OSError."""

# Which Python's ipaddress calls global: they lead to IPv4 addresses inside, or nowhere.
_NOT_GLOBAL = tuple(ip_network(text) for text in ("64:ff9b:1::/48", "2002::/16", "fec0::/10"))
# The addresses that a network without IPv4 makes of IPv4 addresses (RFC 6052).
_NAT64 = ip_network("64:ff9b::/96")


class Refused(httpcore2.ConnectError):
    """The guard's word against a host."""


def is_public(address: str) -> bool:
    """Whether an address, written as a number, belongs to a computer of the internet."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
        elif any(ip in network for network in _NOT_GLOBAL):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


async def resolve(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


class Guard(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses, and to the hosts in `allow_hosts`, each "name" or "name:port"."""

    def __init__(
        self,
        allow_hosts: Collection[str] = (),
        resolver: Resolve = resolve,
        backend: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._backend = backend or httpcore2.AnyIOBackend()
        self._allow_hosts = frozenset(host.lower() for host in allow_hosts)
        self._resolve = resolver

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to an address that was judged. Raises Refused, and httpcore2's ConnectError."""
        try:
            addresses = list(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError("there is no such host") from None
        if not self._allow_hosts & {host.lower(), f"{host.lower()}:{port}"}:
            for address in addresses:
                if not is_public(address):
                    raise Refused(f"{host} is not a public host, so it is not opened")
        problem: Exception = httpcore2.ConnectError("there is no such host")
        for address in addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
        raise problem

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Refused."""
        raise Refused("sockets of this computer are not opened")

    async def sleep(self, seconds: float) -> None:
        """See httpcore2."""
        await self._backend.sleep(seconds)
