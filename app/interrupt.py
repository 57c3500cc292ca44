"""Ctrl-C while modules are imported. Imports as little as it can itself."""

import os
import signal

INTERRUPTED = 130
"""Exit code: 128 and the number of the signal, as a shell has it."""


class Importing:
    """Within it Ctrl-C ends the process at once and in silence.

    Extension modules turn a KeyboardInterrupt in the midst of their import into an error of their own, or abort; and
    nothing has begun yet that would have to be brought to an end. A Ctrl-C that is ignored, as in a shell's background,
    stays so.
    """

    def __enter__(self) -> None:
        self._replaced = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._replaced:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))

    def __exit__(self, *_: object) -> None:
        if self._replaced:  # a handler that is not Python's could not be set again
            signal.signal(signal.SIGINT, signal.default_int_handler)
