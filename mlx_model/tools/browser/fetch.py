"""Fetches a page: by http or https, from public hosts, bounded in size, time and redirects, remembering no site."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from mlx_model.tools.browser.errors import BrowserError

if TYPE_CHECKING:
    import httpx2

    from mlx_model.tools.browser.guard import Resolve

MOST_BYTES = 5_000_000
"""Of a page, after decompression."""
MOST_SECONDS = 15.0
"""For a page with all its redirects, without the time in which somebody is asked."""
MOST_REDIRECTS = 5
PAUSE_S = 1.0
"""Between two requests to a host."""

MayOpen = Callable[[str, str], Awaitable[str | None]]
"""Asked before each request, with the URL and, after a redirect, the URL that has led to it, else "". None allows it, a
text is what the model is told instead."""

# Ports at which services listen that take a request for a command of theirs; below 1024 only the web's are open.
_LOWEST_PORT = 1024
_SERVICES = frozenset({2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, *range(6665, 6670), 6679, 6697, 11211})
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\\@:%\[\]<>\"^`{|}]+)(?::\d*)?")
_ACCEPT = "text/html,application/xhtml+xml,application/json;q=0.9,text/*;q=0.9,application/pdf;q=0.8,*/*;q=0.5"


@dataclass(frozen=True, slots=True)
class Response:
    """What a server has sent; `is_cut` if it was more. `url` is the last one after redirects."""

    url: str
    content_type: str
    data: bytes
    is_cut: bool = False


class Fetcher:
    """Fetches pages. Every request is one of a stranger: no cookies from the page before, nothing of the environment.

    `allow_hosts` may be private ("wiki.local", "localhost:8080"). A browser and its person see what is asked by the
    name of the program in each request.
    """

    def __init__(
        self,
        *,
        allow_hosts: Collection[str] = (),
        resolver: Resolve | None = None,
        pause_s: float = PAUSE_S,
        most_seconds: float = MOST_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._allow_hosts = tuple(allow_hosts)
        self._resolver = resolver
        self._pause_s = pause_s
        self._most_seconds = most_seconds
        self._most_bytes = most_bytes
        self._next: dict[str, float] = {}  # when a host may be asked again

    async def fetch(self, url: str, may_open: MayOpen | None = None) -> Response:
        """The page. Raises BrowserError with what is wrong, to be told with the URL."""
        import httpx2

        left, sender = self._most_seconds, ""
        async with self._client() as client:
            for _ in range(MOST_REDIRECTS + 1):
                check(url)
                if may_open is not None and (refusal := await may_open(url, sender)) is not None:
                    raise BrowserError(refusal)
                await self._take_turns(urlsplit(url).netloc)
                started = time.monotonic()
                try:
                    async with asyncio.timeout(left):
                        answer = await self._request(client, url)
                except TimeoutError:
                    raise BrowserError(f"it took more than {self._most_seconds:g} s") from None
                except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ValueError, OSError) as error:
                    raise BrowserError(reason_of(error)) from None
                if isinstance(answer, Response):
                    return answer
                url, sender = answer, url
                left -= time.monotonic() - started
        raise BrowserError(f"it was redirected more than {MOST_REDIRECTS} times")

    def _client(self) -> httpx2.AsyncClient:
        """A client for one page: what sites set on the way to it is forgotten after it."""
        import httpcore2
        import httpx2

        from mlx_model.tools.browser.guard import Guard, resolve

        transport = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=False)
        # The way to put something on its connections; AsyncHTTPTransport itself has no argument for it.
        transport._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls(), network_backend=Guard(self._allow_hosts, self._resolver or resolve)
        )
        headers = {"User-Agent": user_agent(), "Accept": _ACCEPT, "Accept-Encoding": "gzip, deflate"}
        return httpx2.AsyncClient(transport=transport, headers=headers, follow_redirects=False, trust_env=False)

    async def _request(self, client: httpx2.AsyncClient, url: str) -> Response | str:
        """What the server sends, or the URL to which it redirects."""
        async with client.stream("GET", url, timeout=self._most_seconds) as response:
            if response.has_redirect_location:
                return urljoin(url, response.headers["Location"])
            if not response.is_success:
                raise BrowserError(f"{response.status_code} {response.reason_phrase}".strip())
            data, is_cut = bytearray(), False
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > self._most_bytes:
                    is_cut = True
                    break
            return Response(url, response.headers.get("Content-Type", ""), bytes(data[: self._most_bytes]), is_cut)

    async def _take_turns(self, host: str) -> None:
        """Waits until the host may be asked again."""
        now = time.monotonic()
        turn = max(now, self._next.get(host, now))
        self._next = {each: when for each, when in self._next.items() if when > now}
        self._next[host] = turn + self._pause_s
        await asyncio.sleep(turn - now)


def check(url: str) -> None:
    """Raises BrowserError for a URL that is not opened, whatever host it names."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BrowserError("it is not a valid URL") from None
    if parts.scheme not in ("http", "https"):
        raise BrowserError("only URLs that begin with http:// or https:// can be opened")
    if not parts.hostname:
        raise BrowserError("it has no host")
    if "@" in parts.netloc:
        raise BrowserError("it has a user name in it, and such URLs are not opened")
    if not _HOST.fullmatch(parts.netloc):  # programs don't agree on which host such a URL names
        raise BrowserError("it is not a valid URL")
    if port is not None and port not in (80, 443) and (port < _LOWEST_PORT or port in _SERVICES):
        raise BrowserError(f"port {port} is not one of the web")


def user_agent() -> str:
    """How the program names itself to servers."""
    try:
        return f"gptoss-chat/{version('gptoss-chat')} (opens pages for one person)"
    except PackageNotFoundError:
        return "gptoss-chat (opens pages for one person)"


@cache
def tls() -> ssl.SSLContext:
    """Reads the certificates once, which takes a tenth of a second; SSL_CERT_FILE may name others."""
    import httpx2

    return httpx2.create_ssl_context()


def reason_of(error: Exception) -> str:
    """What a client's error says, without a system's numbers."""
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error).strip()).rstrip(".") or type(error).__name__
