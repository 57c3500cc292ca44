"""A download in the background of the chat: a thread that fetches, how far it is, pausing and going on. No Textual."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Event, Lock, Thread
from typing import ParamSpec

from mlx_model.errors import GptossError
from mlx_model.hub.download import Checking, DownloadEvent, Finished, Plan, Progress, fetch, prepare
from mlx_model.hub.transfer import Damaged, Verified, Verifying, Waiting
from mlx_model.memory.sizes import gigabytes

Given = ParamSpec("Given")

SPEED_S = 5.0
"""Seconds over which the speed is taken: long enough to be read, short enough to notice a stall."""
DAMAGE_S = 10.0
"""Seconds for which it is said that a file has to be fetched again."""


class Phase(StrEnum):
    """What a download does; the value is how the panel calls it."""

    ASKING = "asking the Hub"
    CHECKING = "checking what is here"
    FETCHING = "downloading"
    PAUSED = "paused"
    FAILED = "stopped"
    DONE = "complete and verified"


ACTIVE = (Phase.ASKING, Phase.CHECKING, Phase.FETCHING)
"""Phases in which a thread is at work."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a download is: bytes on disk of `total` bytes, which is 0 until it is known, and bytes a second.

    `done` never falls as long as `total` stays the same. `note` says what is going on just now, or why it failed.
    """

    phase: Phase
    done: int = 0
    total: int = 0
    speed: float = 0.0
    note: str = ""

    @property
    def percent(self) -> int:
        """Rounded down: 100 only when every byte is there."""
        return 100 * self.done // self.total if self.total else 0

    @property
    def seconds_left(self) -> float | None:
        """At this speed; None while there is none."""
        return (self.total - self.done) / self.speed if self.speed and self.done < self.total else None


class Meter:
    """Turns the events of one download, through all its pauses, into Reached. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phase = Phase.ASKING
        self._done = self._total = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._verifying: list[str] = []
        self._note = ""
        self._until = 0.0  # the time up to which the note holds, whatever else happens
        self._retries = False  # whether the note is about a request that is sent again at that time

    def begin(self) -> None:
        """It starts, or goes on; what was reached before counts."""
        self._phase = Phase.ASKING
        self._samples.clear()
        self._verifying.clear()
        self._say("")

    def plan(self, plan: Plan) -> None:
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
                self._phase = Phase.CHECKING
                self._say(f"{100 * done // max(1, total)}% of {gigabytes(total)} read")
            case Progress(done, total):
                if self._phase is not Phase.FETCHING:
                    self._say("")
                    self._phase = Phase.FETCHING
                if now >= self._until:  # bytes of other files may still come while one waits
                    self._say("")
                self._reach(done, total)
                self._samples.append((now, done))
            case Waiting(reason=reason, seconds=seconds):
                self._say(reason, now + seconds)
                self._retries = True
            case Damaged(name):
                self._verified(name)
                self._say(f"{name} is not what the Hub has; it is fetched again", now + DAMAGE_S)
            case Verifying(name):
                self._verifying.append(name)
            case Verified(name):
                self._verified(name)
            case Finished():
                self._done = self._total
                self.end(Phase.DONE)

    def read(self) -> Reached:
        """How far it is now."""
        now = self._clock()
        while len(self._samples) > 1 and self._samples[1][0] <= now - SPEED_S:
            self._samples.popleft()
        speed = 0.0
        if self._phase is Phase.FETCHING and self._samples and now > self._samples[0][0]:
            speed = (self._samples[-1][1] - self._samples[0][1]) / (now - self._samples[0][0])
        note = self._note
        if self._retries:
            seconds = round(self._until - now)
            note = f"{note}; trying again in {seconds} s" if seconds > 0 else f"{note}; trying again"
        elif not note and self._phase is Phase.FETCHING and self._verifying:
            note = f"verifying {self._verifying[0]}"
        return Reached(self._phase, self._done, self._total, speed, note)

    def _say(self, note: str, until: float = 0.0) -> None:
        self._note, self._until, self._retries = note, until, False

    def _verified(self, name: str) -> None:
        if name in self._verifying:
            self._verifying.remove(name)

    def _reach(self, done: int, total: int) -> None:
        self._done = max(self._done, done) if total == self._total else done
        self._total = total


class Download:
    """Fetches one model, by its name on the Hub, in a thread of its own. Its methods return at once.

    The thread is a daemon: it may be waiting for the network when the program ends, and what it has written is as good
    as after kill -9.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._meter = Meter()
        self._lock = Lock()
        self._cancel = Event()
        self._thread: Thread | None = None

    @property
    def reached(self) -> Reached:
        """How far it is now."""
        with self._lock:
            return self._meter.read()

    @property
    def active(self) -> bool:
        """Whether it is on its way: not paused, not failed, not done."""
        return self._thread is not None and self.reached.phase in ACTIVE

    def start(self) -> None:
        """Begin, or go on where it was, unless it is on its way."""
        if self.active:
            return
        before, self._cancel = self._thread, Event()
        with self._lock:
            self._meter.begin()
        self._thread = Thread(target=self._run, args=(self._cancel, before), name="download", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop if it is on its way; what was fetched is kept, and `start` goes on."""
        with self._lock:
            if self._meter.read().phase in ACTIVE:
                self._cancel.set()
                self._meter.end(Phase.PAUSED)

    def join(self) -> None:
        """Wait until the thread has ended: after `pause` it may hold the model's lock a moment longer."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, cancel: Event, before: Thread | None) -> None:
        if before is not None:
            before.join()
        try:
            plan = prepare(self.name)
            self._tell(cancel, self._meter.plan, plan)
            for event in fetch(plan, cancel):
                self._tell(cancel, self._meter.take, event)
        except GptossError as error:
            self._tell(cancel, self._meter.end, Phase.FAILED, str(error))
        except Exception as error:  # not foreseen; a thread that ended without a word would look like a slow one
            text = f"unexpected {type(error).__name__}: {error}. That is a bug: please report it"
            self._tell(cancel, self._meter.end, Phase.FAILED, text)

    def _tell(self, cancel: Event, change: Callable[Given, None], *given: Given.args, **named: Given.kwargs) -> None:
        """Note what has happened, unless it was paused meanwhile."""
        with self._lock:
            if not cancel.is_set():
                change(*given, **named)
