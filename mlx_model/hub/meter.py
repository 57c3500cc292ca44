"""From the events of a download to how far it is."""

import time
from collections import deque
from collections.abc import Callable

from mlx_model.hub.download import Checking, Downloaded, DownloadEvent, DownloadPlan, Progress
from mlx_model.hub.progress import ACTIVE, DownloadState, Phase
from mlx_model.hub.transfer import Damaged, Verified, Verifying, Waiting

SPEED_S = 5.0
"""Seconds over which the speed is taken: long enough to be read, short enough to notice a stall."""
DAMAGE_S = 10.0
"""Seconds for which the note says that a file has to be fetched again."""


class Meter:
    """Turns the events of one download, through all its pauses, into DownloadState. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase = Phase.ASKING
        self._done = self._total = self._checked = self._to_check = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._verifying: list[str] = []
        self._note = ""
        self._until = 0.0  # the time up to which the note holds, whatever else happens
        self._retries = False  # whether the note is about a request that is sent again at that time

    def begin(self) -> None:
        """It starts, or goes on; what was reached before counts."""
        self._enter(Phase.ASKING)
        self._verifying.clear()

    def plan(self, plan: DownloadPlan) -> None:
        """It is known what there is to do."""
        self._reach(plan.present, plan.total)

    def end(self, phase: Phase, note: str = "") -> None:
        """Nothing more comes until the next `begin`."""
        self._phase = phase
        self._say(note)

    def take(self, event: DownloadEvent) -> None:
        """The next event."""
        now = self._clock()
        match event:
            case Checking(done, total):
                self._enter(Phase.CHECKING)
                self._checked, self._to_check = done, total
                self._samples.append((now, done))
            case Progress(done, total):
                self._enter(Phase.FETCHING)
                if now >= self._until:  # bytes of other files may still come while one waits
                    self._say("")
                self._reach(done, total)
                self._samples.append((now, done))
            case Waiting(reason=reason, seconds=seconds):
                self._say(reason, now + seconds)
                self._retries = True
            case Damaged(name):
                self._verified(name)
                self._say(damage(name), now + DAMAGE_S)
            case Verifying(name):
                self._verifying.append(name)
            case Verified(name):
                self._verified(name)
            case Downloaded():
                self._done = self._total
                self.end(Phase.DONE)

    def read(self) -> DownloadState:
        """How far it is now."""
        now = self._clock()
        speed, note = self._speed(now), self._present_note(now)
        return DownloadState(self._phase, self._done, self._total, speed, note, self._checked, self._to_check)

    def _enter(self, phase: Phase) -> None:
        if phase is not self._phase or phase is Phase.ASKING:
            self._phase = phase
            self._samples.clear()
            self._say("")

    def _speed(self, now: float) -> float:
        while len(self._samples) > 1 and self._samples[1][0] <= now - SPEED_S:
            self._samples.popleft()
        if self._phase not in ACTIVE or not self._samples or now <= self._samples[0][0]:
            return 0.0
        return (self._samples[-1][1] - self._samples[0][1]) / (now - self._samples[0][0])

    def _present_note(self, now: float) -> str:
        if self._retries:
            seconds = round(self._until - now)
            return f"{self._note}; trying again in {seconds} s" if seconds > 0 else f"{self._note}; trying again"
        if not self._note and self._phase is Phase.FETCHING and self._verifying:
            return f"verifying {self._verifying[0]}"
        return self._note

    def _say(self, note: str, until: float = 0.0) -> None:
        self._note, self._until, self._retries = note, until, False

    def _verified(self, name: str) -> None:
        if name in self._verifying:
            self._verifying.remove(name)

    def _reach(self, done: int, total: int) -> None:
        self._done = max(self._done, done) if total == self._total else done
        self._total = total


def damage(name: str) -> str:
    """What has become of a damaged file."""
    return f"{name} was damaged; it is fetched again"
