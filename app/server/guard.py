"""Who may ask: Host, Origin, token, type and length of the body, in this order and before anything is read."""

import hmac
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from app.engine.hello import LINES
from app.server.errors import ApiError
from app.server.wire import as_json

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 32 << 20
"""Bytes of a request."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that are this computer, whatever it is asked as."""
OPEN = ("/health",)
"""Paths without a token: who starts servers asks there."""
_ALLOWED = {
    "access-control-allow-methods": "GET, POST, DELETE, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, x-api-key",
    "access-control-max-age": "600",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """Hosts by which the server may be asked besides this computer's own, Origins of pages that may ask, and the token
    that everyone needs, None if nobody does.

    The Host is looked at because a page's own name may come to mean this computer (DNS rebinding). With
    `takes_addresses` it may be any address: that is no name.
    """

    hosts: frozenset[str] = frozenset()
    takes_addresses: bool = False
    origins: frozenset[str] = frozenset()
    token: str | None = field(default=None, repr=False)

    def check(self, method: str, path: str, headers: dict[str, list[str]]) -> None:
        """Raises ApiError for a request that may not come in. `headers` are by their names in small letters."""
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not self._has_host(host_of(hosts[0])):
            raise _forbidden("this server isn't asked as that host; its owner can allow it with --allow-host")
        origins = headers.get("origin", [])
        if any(origin not in self.origins for origin in origins):
            raise _forbidden("pages of this origin may not ask; the owner can allow it with --allow-origin")
        if method == "OPTIONS" and origins:
            return
        if self.token is not None and path not in OPEN and not _has_token(headers, self.token):
            raise ApiError(
                "the token is missing or wrong: send it as Authorization: Bearer TOKEN",
                status=401,
                type="authentication_error",
                code="invalid_api_key",
            )
        if method == "POST":
            _check_body(headers)

    def _has_host(self, host: str) -> bool:
        return host in LOOPBACK or host in self.hosts or (self.takes_addresses and address_of(host) is not None)


def host_of(header: str) -> str:
    """The name in a Host header, without port and brackets, in small letters; "" for what is none."""
    name, bracket, rest = header.strip().lower().partition("]")
    if bracket:
        return name.removeprefix("[") if name.startswith("[") and (not rest or rest.startswith(":")) else ""
    name, _, port = name.partition(":")
    return name.removesuffix(".") if port.isdigit() or not port else ""


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is reached from this computer alone."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """A host as the address that it is, None if it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _has_token(headers: dict[str, list[str]], token: str) -> bool:
    for name, prefix in (("authorization", "bearer "), ("x-api-key", "")):
        for value in headers.get(name, []):
            is_named = value[: len(prefix)].lower() == prefix
            if is_named and hmac.compare_digest(value[len(prefix) :].strip().encode(), token.encode()):
                return True
    return False


def _check_body(headers: dict[str, list[str]]) -> None:
    kind = headers.get("content-type", [""])[0].partition(";")[0].strip().lower()
    length = headers.get("content-length", ["0"])[0]
    if length.isdigit() and int(length) > MOST_BODY:
        raise too_large()
    has_body = length != "0" or "transfer-encoding" in headers
    if has_body and kind not in ("application/json", LINES):  # a form of another site's page has no such type
        raise ApiError("the Content-Type must be application/json", status=415)


def too_large() -> ApiError:
    """A body that is longer than any request."""
    return ApiError(f"the body has more than {MOST_BODY >> 20} MB", status=413)


def _forbidden(text: str) -> ApiError:
    return ApiError(text, status=403, type="permission_error", code="forbidden")


class Guard:
    """ASGI: passes on what the policy lets in, and answers the rest. `count` gets route, method and status of each."""

    def __init__(self, app: App, policy: Policy, count: Callable[[str, int], None]) -> None:
        self._app, self._policy, self._count = app, policy, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server for each request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict[str, list[str]]()
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        origin = headers.get("origin", [None])[0]

        async def counted(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._count(scope["path"], message["status"])
                if origin in self._policy.origins:
                    extra = {"access-control-allow-origin": str(origin), "vary": "Origin"}
                    message = {**message, "headers": [*message.get("headers", []), *_encoded(extra)]}
            await send(message)

        try:
            self._policy.check(scope["method"], scope["path"], headers)
        except ApiError as error:
            await _answer(counted, error.status, as_json(error.to_json()), error.headers)
            return
        if scope["method"] == "OPTIONS" and origin is not None:
            await _answer(counted, HTTPStatus.NO_CONTENT, b"", _ALLOWED)
            return
        await self._app(scope, receive, counted)


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    # The connection ends: a body that nobody reads may still be on its way.
    fields = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **headers}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(fields)})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def without_ports(hosts: Collection[str]) -> frozenset[str]:
    """Hosts as they are compared."""
    return frozenset(filter(None, map(host_of, hosts)))
