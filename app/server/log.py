"""What a server writes on its standard error, in a file as well where nobody looks at that."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

MOST_BYTES = 1_000_000
"""Of a log; when it is full it becomes NAME.1, and a new one begins."""


class Log:
    """In place of `sys.stderr`: what is written to it goes into the file, which its owner alone can read, and on to
    `stream`. What can't be written to the file is lost: no server should fail for its log."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path, self._stream = path, stream

    def write(self, text: str) -> int:
        """See TextIO."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                os.write(file, text.encode("utf-8", "backslashreplace"))
                is_full = os.fstat(file).st_size > MOST_BYTES
            finally:
                os.close(file)
            if is_full:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        return self._stream.write(text)

    def flush(self) -> None:
        """See TextIO."""
        self._stream.flush()
