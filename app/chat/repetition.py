"""Notices that a thought goes round in circles. Pure."""

import re
from collections import Counter, deque

TIMES = 3
"""A passage that comes this often is a circle."""
SHORTEST = 40
"""Characters of a passage that counts: "Let me check that." may come as often as it likes."""

_REMEMBERED = 400
"""Passages that are remembered, some five thousand tokens of them."""
_LONGEST = 1000
"""Characters of a passage without an end, such as a long line of code."""
_END = re.compile(r"[.!?\u3002\uff01\uff1f](?=\s)|[\u3002\uff01\uff1f]|\n")


class Repetition:
    """Follows a text as it grows; `found` once a sentence or line of it has come TIMES times, whatever the spaces."""

    def __init__(self) -> None:
        self.found = False
        self._rest = ""
        self._passages: deque[str] = deque()
        self._counts: Counter[str] = Counter()

    def take(self, text: str) -> None:
        """More of the text."""
        self._rest += text
        while match := _END.search(self._rest):
            self._add(self._rest[: match.end()])
            self._rest = self._rest[match.end() :]
        if len(self._rest) > _LONGEST:
            self._rest = ""

    def _add(self, passage: str) -> None:
        passage = " ".join(passage.split())
        if len(passage) < SHORTEST:
            return
        self._passages.append(passage)
        self._counts[passage] += 1
        self.found = self.found or self._counts[passage] >= TIMES
        if len(self._passages) > _REMEMBERED:
            dropped = self._passages.popleft()
            self._counts[dropped] -= 1
            if not self._counts[dropped]:
                del self._counts[dropped]
