"""The layers on other computers as one object: rows go through one after the other, chunks of a prompt side by side.

While a computer has one chunk, those before it compute the next: whatever is under way moves one computer on with each
call, and only who needs rows waits for them. No computer is ever sent rows before its last ones were collected, so that
two never wait for each other with full pipes.
"""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod
from threading import RLock

import mlx.core as mx

from mlx_model.distributed.frames import Frame
from mlx_model.distributed.remote import Remote, StageLost
from mlx_model.distributed.rows import array_of, bytes_of
from mlx_model.transformer.staged import Wanted


@dataclass(slots=True)
class _Chunk:
    """Rows on their way. `wanted` of them are to come back, `rows` are those that have."""

    places: Sequence[tuple[int, int]]
    shape: tuple[int, ...]
    wanted: int
    rows: memoryview | bytes | None = None


class Pipeline:
    """See transformer.staged.Further. `connect` starts the stages and has them load their layers, again after a loss.

    A loss costs all KV caches: `connection` counts them. Whatever raises StageLost has closed all stages; the next new
    cache connects again. May be used by several threads, each with caches of its own.
    """

    def __init__(self, stages: list[Remote], connect: Callable[[], list[Remote]], dtype: mx.Dtype) -> None:
        self.connection = 0
        self.away_s = (0.0, 0.0)
        """See Further."""
        self._stages = stages
        self._connect = connect
        self._dtype = dtype
        self._numbers = count(1)
        self._dropped: deque[int] = deque()
        self._at: list[_Chunk | None] = [None] * len(stages)
        self._lock = RLock()
        weakref.finalize(self, _close, stages)

    def make_cache(self, most_marks: int) -> int:
        """See Further."""
        with self._lock:
            if not self._stages:
                self._stages += self._connect()
            number = next(self._numbers)
            self._tell(Frame("new", {"cache": number, "marks": most_marks}))
        return number

    def fork(self, cache: int, position: int) -> int:
        """See Further."""
        number = next(self._numbers)
        self.tell(cache, "fork", number, position)
        return number

    def drop(self, cache: int) -> None:
        """See Further: it is told with the next thing that is asked."""
        self._dropped.append(cache)

    def tell(self, cache: int, operation: str, *values: int) -> None:
        """See Further."""
        self._tell(Frame(operation, {"cache": cache, "values": list(values)}))

    def __call__(self, x: mx.array, places: Sequence[tuple[int, int]], wanted: Wanted) -> mx.array | None:
        """See Further."""
        rows = bytes_of(x)  # computed here, while the others are at the chunk before
        batch, tokens, hidden = x.shape
        chunk = _Chunk(places, x.shape, {"all": tokens, "last": 1, "none": 0}[wanted])
        with _Losing(self):
            self._tell_drops()
            waits = wanted != "none"
            if waits:
                self._empty()
            else:
                self._move()
            self._hand_on(0, chunk, rows)
            if not waits:
                return None
            while chunk.rows is None:
                self._move(timed=True)
        return array_of(chunk.rows, (batch, chunk.wanted, hidden), self._dtype)

    def lose(self) -> None:
        """Ends all stages; what they held is lost."""
        _close(self._stages)
        self._dropped.clear()
        self._at = [None] * len(self._at)
        self.connection += 1

    def _tell(self, frame: Frame) -> None:
        with _Losing(self):
            self._tell_drops()
            if len(self._stages) > 1:
                self._empty()  # a stage that has yet to see a chunk must not see what comes after it
            for stage in self._stages:
                stage.send(frame)

    def _tell_drops(self) -> None:
        dropped = [self._dropped.popleft() for _ in range(len(self._dropped))]
        if dropped:
            self._empty()
            for stage in self._stages:
                stage.send(Frame("drop", {"caches": dropped}))

    def _empty(self) -> None:
        """Until nothing is under way."""
        while any(self._at):
            self._move()

    def _move(self, timed: bool = False) -> None:
        """Everything that is under way goes one computer on; the last one first, so that each has room."""
        for index in reversed(range(len(self._stages))):
            chunk, self._at[index] = self._at[index], None
            if chunk is None:
                continue
            is_last = index + 1 == len(self._stages)
            rows, there_s, away_s = self._stages[index].collect(self._nbytes(chunk, is_last))
            if timed:
                self.away_s = self.away_s[0] + there_s, self.away_s[1] + away_s - there_s
            if is_last:
                chunk.rows = rows
            else:
                self._hand_on(index + 1, chunk, memoryview(rows))

    def _hand_on(self, index: int, chunk: _Chunk, rows: memoryview) -> None:
        if not self._stages:
            raise StageLost("the computers that hold the other layers are no longer connected")
        is_last = index + 1 == len(self._stages)
        self._stages[index].forward(chunk.places, chunk.shape, rows, chunk.wanted if is_last else chunk.shape[1])
        self._at[index] = chunk

    def _nbytes(self, chunk: _Chunk, is_last: bool) -> int:
        batch, tokens, hidden = chunk.shape
        return prod((batch, chunk.wanted if is_last else tokens, hidden, self._dtype.size))


class _Losing:
    """Around what speaks with stages: one thread at a time. If any of it fails, all of them are lost."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def __enter__(self) -> None:
        self._pipeline._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                self._pipeline.lose()
        finally:
            self._pipeline._lock.release()


def _close(stages: list[Remote]) -> None:
    while stages:
        stages.pop().close()
