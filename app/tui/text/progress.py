"""How far work is, in words and with the time it takes: the loading of a model, the reading of a prompt."""

from dataclasses import dataclass

LEAST_LEFT_S = 2.0
"""Seconds below which the time left isn't worth a word."""
FEW_TOKENS, MOMENT_S = 500, 1.0
"""A prompt of fewer tokens is read before figures could be, unless it already takes so many seconds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`share` is from 0 to 1. `text` says it in full, `brief` where there is little space."""

    share: float
    text: str
    brief: str


def loading(done: int, total: int, seconds: float) -> Progress:
    """The weights that are loaded, in bytes, after `seconds`."""
    unit, size = ("GB", 1e9) if total >= 1e9 else ("MB", 1e6)
    share = done / total if total else 0.0
    return Progress(share, f"{done / size:.1f} of {total / size:.1f} {unit}, {seconds:.0f} s", f"{share:.0%}")


def preparing(done: int, total: int) -> Progress | None:
    """The pieces of work for the kernels that are done, the next of which is under way; None where there is but one."""
    if total == 1:
        return None
    count = f"{done + 1} of {total}"
    return Progress(done / total if total else 0.0, count, count)


class Reading:
    """A prompt that the model reads; `take` is told how far it is, in tokens.

    The time left follows from the speed so far, in which what the cache had doesn't count.
    """

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def take(self, done: int, total: int, now: float) -> Progress | None:
        """It has read `done` tokens of `total` at `now`, in seconds. None while that isn't worth saying."""
        if self._first is None:
            self._first = now, done
        since, before = self._first
        if total - before < FEW_TOKENS and now - since < MOMENT_S:
            return None
        seconds = (now - since) * (total - done) / (done - before) if done > before else 0.0
        left = f", {seconds:.0f} s left" if seconds > LEAST_LEFT_S else ""
        share = done / total if total else 0.0
        return Progress(share, f"{done:,} of {total:,}{left}", f"{share:.0%}{left}")
