"""Small files: found, replaced in one step, and read as what may have been put there by anyone.

Here since all three packages reach metal; imports the standard library alone.
"""

import errno
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

MOST_JSON = 4 << 20
"""Bytes of JSON that are read where nothing else is said: thirty times the index of gpt-oss-120b."""
_DEEPEST = 64  # levels; what is deeper than Python's stack at one place may be at the next, as when it is printed
_MOST_VALUES = 4 << 20  # a value takes two bytes of text, and some eighty of memory
_UNWAITED = os.O_NONBLOCK | os.O_CLOEXEC
_LONGEST_NUMBER = 40  # characters: no size, id or constant has so many, and arithmetic with them overflows


def read_small(path: Path, most: int = MOST_JSON) -> bytes:
    """The content of a regular file of at most `most` bytes, which may be behind a link.

    Nothing is waited for: a pipe or a device in its place is refused unread. Raises OSError, with the reason in
    `strerror`.
    """
    with _regular(os.open(path, os.O_RDONLY | _UNWAITED), path) as file:
        return read_open(file, path, most)


def read_open(file: BinaryIO, path: Path, most: int) -> bytes:
    """The content of an open file of at most `most` bytes; `path` is for the error. Raises OSError, likewise."""
    size = os.fstat(file.fileno()).st_size
    content = file.read(most + 1) if size <= most else b""
    if size > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most >> 20} MB", str(path))
    return content


def open_below(folder: Path, path: Path) -> BinaryIO:
    """A regular file below `folder`, to be read, where others may write anything at any time: no link there is
    followed, nothing is waited for. Raises OSError, with the reason in `strerror`."""
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    if not parts or ".." in parts:
        raise OSError(errno.EINVAL, "it is in another folder", str(path))
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _UNWAITED)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | _UNWAITED, dir_fd=at)
            os.close(at)
            at = below
        descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | _UNWAITED, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, "a link stands in its place", str(path)) from None
        raise
    finally:
        os.close(at)
    return _regular(descriptor, path)


def _regular(descriptor: int, path: Path) -> BinaryIO:
    """A descriptor as a file. Raises OSError if it is of something else, and has closed it then."""
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return open(descriptor, "rb")  # a descriptor, which the caller closes
    except BaseException:
        os.close(descriptor)
        raise


def expanded(path: str | Path) -> Path:
    """With a leading ~ as the home that it means. Raises FileNotFoundError for the home of someone unknown here."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise FileNotFoundError(errno.ENOENT, f"this computer has no home for {user}", str(path)) from None


def parse_json(text: bytes) -> Any:
    """The value of untrusted JSON in UTF-8. Raises ValueError alone: also for too many values, levels or digits."""
    if text.count(b",") > _MOST_VALUES:
        raise ValueError("it has too many values")
    try:
        value = json.loads(text.decode("utf-8-sig"), parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level, levels = [value] if type(value) in (dict, list) else [], 0
    while level:
        levels += 1
        if levels > _DEEPEST:
            raise ValueError("it is nested too deeply")
        members = (each.values() if type(each) is dict else each for each in level)
        level = [inner for each in members for inner in each if type(inner) in (dict, list)]
    return value


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"it has a number of {len(digits)} digits")
    return int(digits)


def replace_file(path: Path, content: bytes, *, durable: bool = False, private: bool = False) -> None:
    """Write `content` beside `path` and move it there: a reader sees the old file or the new one, also after kill -9.

    Folders that are missing are made. The mode of a file that was there stays. With `durable` the content has reached
    the disk before the name does, so that a power cut leaves no empty file, and the name before this returns. A new
    file that is `private` can be read by its owner alone, at no moment by others. Raises OSError; nothing is left
    beside `path` then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    try:
        mode = 0o600 if private else 0o666
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
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
