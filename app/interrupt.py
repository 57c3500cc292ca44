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
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)
