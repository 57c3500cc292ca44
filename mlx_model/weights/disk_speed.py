"""How fast files are read in pieces of the size of experts: measured on some of their bytes, nothing is written."""

import fcntl
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

_PIECE = 8 << 20
_PIECES = 32
_LONGEST_S = 1.0
_READERS = 4


def disk_speed(files: Sequence[Path]) -> float | None:
    """Bytes a second, of at most 256 MB and for about a second; None where no file can be read, or all are too small.

    The page cache is passed by: on Linux the pieces are dropped from it first, on a Mac they are not to be kept; what
    is in it there already is read from there, and so faster.
    """
    chance, places = random.Random(0), list[tuple[Path, int]]()
    for file in files:
        with suppress(OSError):
            places += [(file, start) for start in range(0, file.stat().st_size - _PIECE + 1, _PIECE)]
    chosen = chance.sample(places, min(_PIECES, len(places)))
    end = time.perf_counter() + _LONGEST_S
    start = time.perf_counter()
    with ThreadPoolExecutor(_READERS) as pool:
        done = sum(pool.map(lambda place: _read(*place) if time.perf_counter() < end else 0, chosen))
    return done / (time.perf_counter() - start) if done else None


def _read(file: Path, offset: int) -> int:
    """The bytes of a piece that were read from the disk."""
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if hasattr(fcntl, "F_NOCACHE"):
                fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
            elif hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, offset, _PIECE, os.POSIX_FADV_DONTNEED)
            return os.preadv(descriptor, [bytearray(_PIECE)], offset)
        finally:
            os.close(descriptor)
    return 0
