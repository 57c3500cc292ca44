"""The threads that compute on a CPU: they wait for a program, and all run it."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

from mlx_model.cpu.kernels.sharing import abandon, begin, forget, holds, new_state, phase_of, wake

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
        self._failed: BaseException | None = None
        self._is_settled = True
        """Whether no thread can be at a chunk of an earlier program: one that ended in an error has been waited for."""
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
                # Others wait for a chunk that it holds. Without one nobody misses it, and the program may be over.
                if holds(self._state, part):
                    self._failed = error
                    abandon(self._state)
            wake(self._state)

    def run(self, program: Program, threads: int | None = None) -> None:
        """Runs a program; with `threads=1` in the caller's thread alone. Raises what it raises in any thread.

        What is raised has left no thread at work: none writes into arrays of a program that is over. A second Ctrl-C
        does not hasten that, which takes as long as a chunk.
        """
        with self._lock:
            if not self._is_settled:
                self._settle()
            phase = phase_of(self._state)
            begin(self._state, 0, phase)
            try:
                self._is_settled = False
                for queue in self._queues if threads != 1 else ():
                    queue.put((program, phase))
                program(self._state, 0)
                wake(self._state)
                if self._failed is not None:
                    raise self._failed
                self._is_settled = True
            except BaseException:
                while not self._is_settled:
                    with suppress(KeyboardInterrupt):
                        self._settle()
                raise

    def _settle(self) -> None:
        """Ends a program that failed or was interrupted: waits until each thread has come to what it is given here."""
        abandon(self._state)
        over = SimpleQueue[int]()
        for queue in self._queues:
            queue.put((lambda state, part: over.put(part), 0))
        for _ in self._queues:
            over.get()
        forget(self._state)
        self._failed = None
        self._is_settled = True
