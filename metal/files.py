"""Replaces a small file in one step. Here since all three packages reach metal; imports the standard library alone."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write `content` beside `path` and move it there: a reader sees the old file or the new one, also after kill -9.

    Folders that are missing are made. The mode of a file that was there stays. With `durable` the content has reached
    the disk before the name does, so that a power cut leaves no empty file, and the name before this returns. Raises
    OSError; nothing is left beside `path` then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
        if durable:
            _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Has the names in a folder on the disk, where its file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
