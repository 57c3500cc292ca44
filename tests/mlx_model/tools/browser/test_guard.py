"""Tests for the guard: which addresses are the internet's; a connection goes to the address that was judged."""

import asyncio
from collections.abc import Awaitable, Callable

import httpcore2
import pytest

from mlx_model.tools.browser.guard import Guard, Refused, is_public

PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:7f00:1::1",
    "2001:db8::1",
    "100::1",
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_and_special_addresses_are_none_of_the_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_the_internets(address: str) -> None:
    assert is_public(address)


class Backend(httpcore2.AsyncMockBackend):
    """Connects to nothing, and remembers what to."""

    def __init__(self, refusing: tuple[str, ...] = ()) -> None:
        super().__init__([])
        self.addresses: list[str] = []
        self._refusing = refusing

    async def connect_tcp(self, host: str, *arguments: object, **named: object) -> httpcore2.AsyncNetworkStream:
        self.addresses.append(host)
        if host in self._refusing:
            raise httpcore2.ConnectError("refused")
        return await super().connect_tcp(host, 80)


def guard(names: dict[str, list[list[str]]], *allow: str, refusing: tuple[str, ...] = ()) -> tuple[Guard, Backend]:
    """A guard, whose resolver gives each name's answers one after the other."""
    backend = Backend(refusing)

    async def resolver(host: str, port: int) -> list[str]:
        if host not in names:
            raise OSError("no such name")
        return names[host].pop(0)

    made = Guard(allow, resolver, backend)
    return made, backend


def test_a_name_is_resolved_once_and_the_judged_address_connected() -> None:
    made, backend = guard({"rebind.example": [["1.1.1.1"], ["127.0.0.1"]]})
    asyncio.run(made.connect_tcp("rebind.example", 80))
    assert backend.addresses == ["1.1.1.1"]
    with pytest.raises(Refused, match=r"^rebind\.example is not a public host, so it is not opened$"):
        asyncio.run(made.connect_tcp("rebind.example", 80))
    assert backend.addresses == ["1.1.1.1"]


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    made, backend = guard({"mixed.example": [["1.1.1.1", "::1"]]})
    with pytest.raises(Refused):
        asyncio.run(made.connect_tcp("mixed.example", 443))
    assert not backend.addresses


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    made, backend = guard({"two.example": [["1.1.1.1", "2606:4700::1"]]}, refusing=("1.1.1.1",))
    asyncio.run(made.connect_tcp("two.example", 443))
    assert backend.addresses == ["1.1.1.1", "2606:4700::1"]
    made, _ = guard({"two.example": [["1.1.1.1", "1.0.0.1"]]}, refusing=("1.1.1.1", "1.0.0.1"))
    with pytest.raises(httpcore2.ConnectError, match="refused"):
        asyncio.run(made.connect_tcp("two.example", 443))


def test_hosts_that_are_allowed_may_be_anywhere() -> None:
    answers = {"wiki.local": [["10.0.0.1"]] * 2, "other.local": [["10.0.0.2"]] * 2}
    made, backend = guard(answers, "wiki.local", "Other.local:8080")
    asyncio.run(made.connect_tcp("wiki.local", 80))
    asyncio.run(made.connect_tcp("other.local", 8080))
    with pytest.raises(Refused):
        asyncio.run(made.connect_tcp("other.local", 80))
    assert backend.addresses == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda made: made.connect_tcp("nowhere.example", 80),
        lambda made: made.connect_unix_socket("/var/run/docker.sock"),
    ],
)
def test_nothing_else_is_connected(attempt: Callable[[Guard], Awaitable[object]]) -> None:
    made, backend = guard({})

    async def run() -> None:
        await attempt(made)

    with pytest.raises(httpcore2.ConnectError):
        asyncio.run(run())
    assert not backend.addresses


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "::1", "0", "①②⑦.⓪.⓪.①"]
)
def test_the_systems_resolver_finds_this_computer_under_every_name(host: str) -> None:
    with pytest.raises(httpcore2.ConnectError):  # Refused, or a name that this system doesn't know
        asyncio.run(Guard().connect_tcp(host, 9))
