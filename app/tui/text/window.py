"""Which part of a long conversation is on the screen; plain arithmetic."""

from dataclasses import dataclass

TAIL, STEP, MAX_MOUNTED = 20, 10, 60
"""Nodes shown when a conversation opens, added on reaching an end, and kept when it grows."""


@dataclass(frozen=True, slots=True)
class Window:
    """Of `total` nodes those from `start` up to, but without, `end`."""

    start: int = 0
    end: int = 0
    total: int = 0

    @staticmethod
    def tail(total: int) -> "Window":
        """The last ones."""
        return Window(max(0, total - TAIL), total, total)

    @staticmethod
    def around(total: int, index: int) -> "Window":
        """One node, with as many before and after it as open at once; the tail if that has it."""
        tail = Window.tail(total)
        if index >= tail.start + STEP // 2:
            return tail
        start = max(0, index - STEP // 2)
        return Window(start, min(total, start + TAIL), total)

    def earlier(self) -> "Window":
        """Some more at the beginning."""
        return Window(max(0, self.start - STEP), self.end, self.total)

    def later(self) -> "Window":
        """Some more at the end."""
        return Window(self.start, min(self.total, self.end + STEP), self.total)

    def grown(self) -> "Window":
        """One node has been added at the end, which was in sight; what has become too much goes at the beginning."""
        assert self.end == self.total
        total = self.total + 1
        return Window(total - TAIL if total - self.start > MAX_MOUNTED else self.start, total, total)
