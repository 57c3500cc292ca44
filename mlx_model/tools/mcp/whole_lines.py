"""What the program of a server writes, for the SDK: line by line, and none without bound.

By itself the SDK takes a line of any length, and for one that comes in n pieces it copies n² of them: a result of 50 MB
kept a core busy for 35 s. It has no argument for a reader of ours, so `install` puts one in the place of its own.
"""

from __future__ import annotations

from anyio.streams.text import TextReceiveStream
from mcp.client import stdio

MOST_CHARACTERS = 32_000_000
"""Of one message: it holds a file of 20 MB."""

TOO_LONG = "notifications/too_long"
"""The method of the notification that comes in the place of a message that is longer."""
_NOTIFICATION = f'{{"jsonrpc": "2.0", "method": "{TOO_LONG}"}}\n'


class WholeLines(TextReceiveStream):
    """Gives nothing but whole lines."""

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


def install() -> None:
    """Have the SDK read what programs write by this."""
    stdio.TextReceiveStream = WholeLines  # type: ignore[attr-defined]
