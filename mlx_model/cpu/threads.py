"""The threads that compute on a CPU: they wait for a program, and all run it."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

from mlx_model.cpu.kernels.sharing import abandon, begin, forget, new_state, phase_of, wake

Program = Callable[[Any, int], None]
"""program(state, part): calls compiled functions, which share their work by `take(state, part, ...)`. Its Python code
runs in every thread, in late ones after the program is over: it must change nothing."""


def thread_count() -> int:
    """How many threads compute fastest here: one for each core that this process may use.

    A second thread on a core has no arithmetic units of its own, and would only add to what waits for the slowest.
    """
    allowed = len(os.sched_getaffinity(0))
    cores = psutil.cpu_count(logical=False) or allowed
    return max(1, min(allowed, cores, _quota() or allowed))


_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def _quota() -> int | None:
    """Processors that a container's control group (version 2) may use, rounded up; None without a limit."""
    try:
        most, period = _QUOTA.read_text("ascii").split()
        return None if most == "max" else -(-int(most) // int(period))
    except (OSError, ValueError):
        return None


class Team:
    """`threads` threads, the caller's among them, that run one program at a time."""

    def __init__(self, threads: int) -> None:
        self._state = new_state(threads)
        self._lock = threading.Lock()
        self._idle = threading.Condition()
        self._running = 0
        self._failed: BaseException | None = None
        self._queues = [SimpleQueue[tuple[Program, int]]() for _ in range(1, threads)]
        for part, queue in enumerate(self._queues, 1):
            threading.Thread(target=self._work, args=(part, queue), daemon=True, name=f"cpu-{part}").start()

    @property
    def threads(self) -> int:
        """How many there are, which is how many parts a program may be given."""
        return len(self._queues) + 1

    def _work(self, part: int, queue: SimpleQueue[tuple[Program, int]]) -> None:
        while True:
            program, phase = queue.get()
            begin(self._state, part, phase)
            try:
                program(self._state, part)
            except BaseException as error:
                # The thread may hold a chunk, for which others wait.
                self._failed = error
                abandon(self._state)
            wake(self._state)
            with self._idle:
                self._running -= 1
                self._idle.notify()

    def run(self, program: Program, threads: int | None = None) -> None:
        """Runs a program; with `threads=1` in the caller's thread alone. Raises what it raises in any thread."""
        with self._lock:
            phase = phase_of(self._state)
            begin(self._state, 0, phase)
            if threads != 1:
                with self._idle:
                    self._running += len(self._queues)
                for queue in self._queues:
                    queue.put((program, phase))
            try:
                program(self._state, 0)
                wake(self._state)
                if self._failed is not None:
                    raise self._failed
            except BaseException:
                abandon(self._state)
                with self._idle:  # nobody may write into arrays of a program that is over
                    self._idle.wait_for(lambda: self._running == 0)
                forget(self._state)
                self._failed = None
                raise
