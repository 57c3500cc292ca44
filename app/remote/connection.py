"""HTTP to a server: each request a connection that can break, and everything in its answer bounded and cleaned."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from app.engine.engine import EngineDied, EngineError
from app.lines import one_line
from app.remote.address import Address, check_open_air
from metal.files import parse_json

if TYPE_CHECKING:
    import httpx2

MODELS = "/v1/models"
"""What both kinds of servers answer, if they let one in."""
CONNECT_S = 5.0
MOST_LINE = 32 << 20
"""Bytes of a line: a message as long as the context, with escapes."""
MOST_ANSWER = 128 << 20
"""Bytes of an answer: each token of the longest context in a line of its own."""
MOST_BODY = 4 << 20
"""Bytes of what isn't streamed."""
_LONGEST_ERROR = 500
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")


class Refused(EngineError):
    """The server answers a request with an error; `status` is HTTP's."""

    def __init__(self, text: str, status: int, *, unusable: bool = False, too_long: bool = False) -> None:
        super().__init__(text, unusable, too_long)
        self.status = status


class Reply:
    """What a server answers to one request, as it comes."""

    def __init__(self, response: "httpx2.Response", connection: "Connection") -> None:
        self._response = response
        self._connection = connection
        self.status = response.status_code

    @property
    def type(self) -> str:
        """The media type of the body, without parameters."""
        return str(self._response.headers.get("content-type", "")).partition(";")[0].strip().lower()

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """The lines of the body, without their ends. Raises EngineDied."""
        rest, total = bytearray(), 0
        with self._connection.breaking():
            async for chunk in self._response.aiter_bytes():
                total += len(chunk)
                *lines, tail = chunk.split(b"\n")
                for line in lines:
                    yield bytes(rest + line)
                    rest.clear()
                rest += tail
                if len(rest) > MOST_LINE or total > MOST_ANSWER:
                    raise EngineDied(f"{self._connection.host} sent more than any answer has")
            if rest:
                yield bytes(rest)

    async def json(self) -> Any:
        """The JSON of the body, None if it is something else. Raises EngineDied."""
        body = bytearray()
        with self._connection.breaking():
            async for chunk in self._response.aiter_bytes():
                body += chunk
                if len(body) > MOST_BODY:
                    return None
        try:
            return parse_json(bytes(body))
        except ValueError:
            return None

    async def refusal(self) -> Refused:
        """Why the server doesn't do what was asked, in its own words if it has some. Raises EngineDied."""
        host, value = self._connection.host, await self.json()
        if self._response.is_redirect:
            where = one_line(str(self._response.headers.get("location", "")))[:200]
            return Refused(f"{host} has moved to {where}; connect to that address", self.status)
        inner = value.get("error") if isinstance(value, dict) else None
        error = inner if isinstance(inner, dict) else {"message": inner}
        words = error.get("message")
        said = one_line(words)[:_LONGEST_ERROR] if isinstance(words, str) else ""
        if self.status == 401:
            return Refused(self._connection.refused(said), self.status)
        too_long = error.get("code") == "context_length_exceeded"
        unusable = too_long or self.status in (400, 422)
        return Refused(
            said or f"{host} answered with HTTP {self.status}", self.status, unusable=unusable, too_long=too_long
        )


class Connection:
    """Requests to one server. Raises EngineDied, in a clear sentence, where it can't be reached or falls silent."""

    def __init__(self, address: Address, token: str | None, token_place: str = "") -> None:
        """`token_place` is where the token comes from, for people."""
        self.address = address
        self._token = token
        self._token_place = token_place
        self._client: httpx2.AsyncClient | None = None

    @property
    def host(self) -> str:
        """The server, for people."""
        return self.address.host

    def refused(self, said: str = "") -> str:
        """What to say where the server doesn't let this one in."""
        why = f" ({said})" if said else ""
        if self._token is None:
            return f"{self.host} wants a token, which --token-file - asks for{why}"
        return f"{self.host} refuses the token of {self._token_place}; --token-file - asks for another{why}"

    @asynccontextmanager
    async def request(
        self, method: str, path: str, content: bytes | None = None, type: str = "application/json", *, silence_s: float
    ) -> AsyncIterator[Reply]:
        """The reply to a request; `silence_s` is for how long nothing may come."""
        import httpx2

        client = await self._opened()
        headers = {"Accept-Encoding": "identity"}
        if content is not None:
            headers["Content-Type"] = type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        timeout = httpx2.Timeout(silence_s, connect=CONNECT_S, pool=None)
        url = f"{self.address.base}{path}"
        with self.breaking():
            request = client.build_request(method, url, content=content, headers=headers, timeout=timeout)
            response = await client.send(request, stream=True)
        try:
            yield Reply(response, self)
        finally:
            with self.breaking():
                await response.aclose()

    async def lets_in(self) -> bool:
        """Whether the server takes this token, or none; also true where it can't be reached, which is said later."""
        try:
            async with self.request("GET", MODELS, silence_s=CONNECT_S) as reply:
                return reply.status != 401
        except EngineDied:
            return True

    def breaking(self) -> "_Breaking":
        """What breaks within is EngineDied."""
        return _Breaking(self)

    async def close(self) -> None:
        """Ends all that is under way."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _opened(self) -> "httpx2.AsyncClient":
        if self._client is None:
            await check_open_air(self.address)
            client = await asyncio.to_thread(_client, self.address)  # some tenths of a second, the first time
            if self._client is None:
                self._client = client
        return self._client


def _client(address: Address) -> "httpx2.AsyncClient":
    """Without encryption no proxy is asked, which could read all, and no certificates are loaded."""
    import httpx2

    return httpx2.AsyncClient(verify=address.is_https, trust_env=address.is_https, follow_redirects=False)


class _Breaking:
    """Errors of HTTP become EngineDied."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        import httpx2

        if isinstance(error, httpx2.TransportError | httpx2.InvalidURL | httpx2.StreamError | httpx2.DecodingError):
            raise EngineDied(_said(error, self._connection.host)) from error


def _said(error: Exception, host: str) -> str:
    import httpx2

    cause = one_line(str(error))[:_LONGEST_ERROR]
    match error:
        case httpx2.ConnectTimeout():
            return f"{host} can't be reached: no answer in {CONNECT_S:g} s; it may be off, or in another network"
        case httpx2.ConnectError() if "CERTIFICATE" in cause:
            return f"{host} has no certificate that this computer trusts ({cause})"
        case httpx2.ConnectError() if "SSL" in cause:
            return f"{host} does not speak https ({cause}); http:// may be meant"
        case httpx2.ConnectError():
            reason = _ERRNO.sub("", cause).lower()
            reason = "nobody answers" if not reason or "attempts failed" in reason else reason
            return f"{host} can't be reached: {reason}; the server may not run there"
        case httpx2.ReadTimeout() | httpx2.WriteTimeout():
            return f"the connection to {host} is lost: nothing comes any more"
        case httpx2.RemoteProtocolError() | httpx2.ReadError() | httpx2.WriteError():
            return f"the connection to {host} is lost"
    return f"the connection to {host} is lost ({cause or type(error).__name__})"
