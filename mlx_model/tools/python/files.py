"""Which files a cell has written: looked at without opening them, for what is in the folder is untrusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

MOST_LISTED = 20
_MOST_SEEN = 5_000
_DEEPEST = 5

Snapshot = dict[str, tuple[int, int, int]]
"""Paths of files in a folder, with what changes when a file does: its number, size and time."""


def snapshot(folder: Path) -> Snapshot:
    """The regular files in a folder. Links are no files of it, wherever they lead; a bounded number is looked at."""
    return dict(_files(folder))


def changed(folder: Path, before: Snapshot) -> tuple[Path, ...]:
    """Files that are new or have changed since, in the order of their time: the last MOST_LISTED, for what code writes
    at its end is what it was for."""
    found = [(facts[2], path) for path, facts in snapshot(folder).items() if before.get(path) != facts]
    return tuple(Path(path) for _, path in sorted(found)[-MOST_LISTED:])


def _files(folder: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    seen = 0
    levels = [(str(folder), 0)]
    while levels:
        path, depth = levels.pop()
        try:
            entries = os.scandir(path)
        except OSError:
            continue
        with entries:
            for entry in entries:
                seen += 1
                if seen > _MOST_SEEN:
                    return
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if (
                    stat.S_ISDIR(status.st_mode)
                    and depth < _DEEPEST
                    and not entry.name.startswith(("__pycache__", "."))
                ):
                    levels.append((entry.path, depth + 1))
                elif stat.S_ISREG(status.st_mode):
                    yield entry.path, (status.st_ino, status.st_size, status.st_mtime_ns)
