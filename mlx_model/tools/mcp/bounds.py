"""Bounds on what a server sends at once. The SDK has none for lines of a program, and for a body that is JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2
from anyio.streams.text import TextReceiveStream
from mcp.client import stdio

MOST_CHARACTERS = 32_000_000
"""Of one message: it holds a file of 20 MB."""
TOO_MUCH = f"it has sent more than {MOST_CHARACTERS // 1_000_000} MB at once"

TOO_LONG = "notifications/too_long"
"""The method of the notification that comes in the place of a message of a program that is longer."""
_NOTIFICATION = f'{{"jsonrpc": "2.0", "method": "{TOO_LONG}"}}\n'


class WholeLines(TextReceiveStream):
    """Gives nothing but whole lines. By itself the SDK copies n² pieces for a line that comes in n: a result of 50 MB
    kept a core busy for 35 s."""

    def __post_init__(self, encoding: str, errors: str) -> None:
        super().__post_init__(encoding, errors)
        self._begun: list[str] = []  # of a line whose end has not come yet

    async def receive(self) -> str:
        """The next lines, with their ends. Raises EndOfStream."""
        length = sum(map(len, self._begun))
        while length <= MOST_CHARACTERS:
            lines, end, rest = (await super().receive()).rpartition("\n")
            if end:
                whole = "".join([*self._begun, lines, end])
                self._begun = [rest]
                return whole
            self._begun.append(rest)
            length += len(rest)
        self._begun.clear()
        return _NOTIFICATION


class BoundedBody(httpx2.AsyncByteStream):
    """The body of a response, up to so many bytes; then `refused` is called, and reading it raises StreamError."""

    def __init__(self, body: httpx2.AsyncByteStream, most: int, refused: Callable[[], None]) -> None:
        self._body = body
        self._most = most
        self._refused = refused

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for piece in self._body:
            length += len(piece)
            if length > self._most:
                self._refused()
                raise httpx2.StreamError("more than can be taken in")
            yield piece

    async def aclose(self) -> None:
        """See AsyncByteStream."""
        await self._body.aclose()


def install() -> None:
    """Have the SDK read what programs write by WholeLines: it has no argument for it."""
    stdio.TextReceiveStream = WholeLines  # type: ignore[attr-defined]
