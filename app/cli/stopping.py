"""Ctrl-C in a command that takes long: the first one asks it to come to an end."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

from app.cli.printing import say


@contextlib.contextmanager
def interruptible(stop: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C only calls `stop`, a second one interrupts; yields whether there was a first."""
    is_asked = False

    def on_interrupt(*_: object) -> None:
        nonlocal is_asked
        is_asked = True
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: is_asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def stoppable(when: str, stop: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Within it the first Ctrl-C asks to stop `when`, in words, and calls `stop`; a second one interrupts. Yields
    whether it was asked."""

    def said() -> None:
        if sys.stderr.isatty():  # which shows ^C behind the line of progress
            print(file=sys.stderr)
        say(f"stopping {when}; Ctrl-C again stops at once")
        stop()

    with interruptible(said) as is_asked:
        yield is_asked
