"""One stream at a time: of two streams or two threads one gets an error, and neither gets a wrong answer."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from mlx_model.errors import RequestError

T = TypeVar("T")


class Exclusive:
    """Guards what only one stream at a time may use, such as the KV caches of a session.

    `check` is called before each step of a stream and may raise.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._computing = threading.Lock()
        self._open: Stream[Any] | None = None

    @contextmanager
    def step(self, stream: "Stream[Any]") -> Iterator[None]:
        """Around a step. The first step of a stream supersedes the stream that is open.

        Raises RequestError where another thread is computing a step, and for a stream that has been superseded.
        """
        self._check()
        if not self._computing.acquire(blocking=False):
            raise RequestError(
                "another thread is computing an answer on this Session, which gives one at a time; "
                "use one Session for each thread"
            )
        try:
            if stream.superseded:
                raise RequestError(
                    "another request has begun on this Session, which ended this answer before it was complete; "
                    "use a second Session to have two answers under way"
                )
            if self._open is not None and self._open is not stream:
                self._open.supersede()
            self._open = stream
            yield
        finally:
            self._computing.release()

    def close(self, steps: Generator[Any, None, None]) -> None:
        """Closes the steps of a stream that is marked as ended, unless a step is under way: that closes them itself."""
        if self._computing.acquire(blocking=False):
            try:
                steps.close()
            finally:
                self._computing.release()


class Stream(Generic[T]):
    """An iterator whose steps may be taken in any thread, one after the other.

    What the steps leave lazy must have been computed at each `yield`: MLX's lazy arrays belong to the thread they were
    made in.
    """

    def __init__(self, owner: Exclusive, steps: Generator[T, None, None]) -> None:
        self._owner = owner
        self._steps = steps
        self._ended = False
        self.superseded = False

    def __iter__(self) -> "Stream[T]":
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        try:
            with self._owner.step(self):
                try:
                    return next(self._steps)
                except BaseException:
                    self._ended = True
                    raise
        finally:
            if self._ended:  # by `close`, in another thread, during the step
                self._owner.close(self._steps)

    def close(self) -> None:
        """Ends the stream before its time; during a step in another thread, when that step is over."""
        self._ended = True
        self._owner.close(self._steps)

    def supersede(self) -> None:
        """Ends the stream because another has begun: its next step raises RequestError."""
        self.superseded = True
        self._steps.close()
