"""How fast tokens come now: over the last two seconds."""

from collections import deque

WINDOW_S = 2.0


class Speed:
    """Is told of tokens as they come."""

    def __init__(self) -> None:
        self._ticks: deque[tuple[float, int]] = deque()

    def count(self, now: float, tokens: int) -> None:
        """So many have come at `now`, in seconds."""
        self._ticks.append((now, tokens))
        while now - self._ticks[0][0] > WINDOW_S:
            self._ticks.popleft()

    @property
    def value(self) -> float:
        """Tokens a second; 0 until there is enough to go by."""
        if len(self._ticks) < 2 or (elapsed := self._ticks[-1][0] - self._ticks[0][0]) <= WINDOW_S / 4:
            return 0.0
        return (sum(tokens for _, tokens in self._ticks) - self._ticks[0][1]) / elapsed
