"""How far a download is: for a panel, a bar and plain lines alike. Shows nothing itself, and fetches nothing."""

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What a download does; the value is how a person reads it."""

    ASKING = "asking the Hub"
    CHECKING = "checking what is here"
    FETCHING = "downloading"
    PAUSED = "paused"
    FAILED = "stopped"
    DONE = "complete and verified"


ACTIVE = (Phase.ASKING, Phase.CHECKING, Phase.FETCHING)
"""Phases in which a download is at work."""


@dataclass(frozen=True, slots=True)
class DownloadState:
    """How far a download is: `done` of `total` bytes are on disk; `total` is 0 until it is known.

    `done` never falls as long as `total` stays the same. While files that were here already are read, `checked` of
    `to_check` bytes have been. `speed` is in bytes a second, in the present phase. `note` says what is going on just
    now, or why the download failed.
    """

    phase: Phase
    done: int = 0
    total: int = 0
    speed: float = 0.0
    note: str = ""
    checked: int = 0
    to_check: int = 0

    @property
    def step(self) -> tuple[int, int]:
        """Bytes done and bytes in all of the present phase: of reading or of fetching."""
        return (self.checked, self.to_check) if self.phase is Phase.CHECKING else (self.done, self.total)

    @property
    def percent(self) -> int:
        """Of the bytes on disk, rounded down: 100 only when every one is there."""
        return 100 * self.done // self.total if self.total else 0

    @property
    def seconds_left(self) -> float | None:
        """Of the present phase at this speed; None while there is none."""
        done, total = self.step
        return (total - done) / self.speed if self.speed and done < total else None


def pace(state: DownloadState) -> list[str]:
    """Speed and time left, in words; nothing while nothing comes."""
    if state.seconds_left is None:
        return []
    return [f"{state.speed / 1e6:.1f} MB/s", f"{duration(state.seconds_left)} left"]


def duration(seconds: float) -> str:
    """So long, in one unit: "40 s", "4 min", "3 h"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
