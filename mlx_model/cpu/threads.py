"""The threads that compute on a CPU: they wait for a program, and all run it."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from mlx_model.cpu.kernels.sharing import abandon, begin, new_state, phase_of, wake

Program = Callable[[Any, int], None]
"""program(state, part): calls compiled functions, which share their work by `take(state, part, ...)`."""


class Team:
    """`threads` threads, the caller's among them, that run one program at a time."""

    def __init__(self, threads: int) -> None:
        self._state = new_state(threads)
        self._lock = threading.Lock()
        self._queues = [SimpleQueue[tuple[Program, int]]() for _ in range(1, threads)]
        for part, queue in enumerate(self._queues, 1):
            threading.Thread(target=self._work, args=(part, queue), daemon=True).start()

    def _work(self, part: int, queue: SimpleQueue[tuple[Program, int]]) -> None:
        while True:
            program, phase = queue.get()
            begin(self._state, part, phase)
            program(self._state, part)

    def run(self, program: Program, threads: int | None = None) -> None:
        """Runs a program; with `threads=1` in the caller's thread alone."""
        with self._lock:
            phase = phase_of(self._state)
            begin(self._state, 0, phase)
            if threads != 1:
                for queue in self._queues:
                    queue.put((program, phase))
            try:
                program(self._state, 0)
            except BaseException:
                abandon(self._state)
                raise
            wake(self._state)
