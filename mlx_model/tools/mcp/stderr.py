"""What the program of a server writes on its standard error: kept in a file of bounded size, and its last line here."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from mlx_model.text import clean

MOST_BYTES = 1_000_000
"""Of a log; when it is full it becomes NAME.1, and a new one begins."""

_TAIL = 4_096
_READ = 65_536


class StandardError:
    """A pipe for a child, read to its end in a thread, so that a child that floods it waits for nobody."""

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._tail = b""
        self._drained: threading.Thread | None = None

    @property
    def last_line(self) -> str:
        """The last line that says something, cleaned, of at most 200 characters; "" for none.

        Waits a moment for what a program that has ended has written.
        """
        if self._drained is not None:
            self._drained.join(timeout=0.5)
        lines = [line.strip() for line in clean(self._tail.decode("utf-8", "replace")).splitlines()]
        return next((line[:200] for line in reversed(lines) if line), "")

    def open(self) -> TextIO:
        """The end to write on, which the caller closes once a child has it."""
        reading, writing = os.pipe()
        self._drained = threading.Thread(target=self._drain, args=(reading,), name="mcp stderr", daemon=True)
        self._drained.start()
        return os.fdopen(writing, "w")

    def _drain(self, reading: int) -> None:
        with open(reading, "rb", buffering=0) as pipe:  # a descriptor
            while piece := pipe.read(_READ):
                self._tail = (self._tail + piece)[-_TAIL:]
                self._keep(piece)

    def _keep(self, piece: bytes) -> None:
        """Adds to the log; what can't be written is lost, for no server should wait or fail for its log."""
        if self._log is None:
            return
        with suppress(OSError):
            self._log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._log.open("ab") as file:
                file.write(piece)
                size = file.tell()
            if size > MOST_BYTES:
                self._log.replace(self._log.with_name(f"{self._log.name}.1"))
