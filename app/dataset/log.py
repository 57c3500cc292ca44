"""The log of a run: a line for what the set is made from, then one for each try, on the disk before the next begins.

A run that was stopped or killed goes on behind the last whole line; what was added to it is never written again.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from metal.files import parse_json, read_small
from mlx_model.errors import RequestError

_MOST_BYTES = 1 << 30


class Log:
    """An open log. `records` are the lines that were there, without the first."""

    def __init__(self, file: FileIO, path: Path, records: list[dict[str, Any]]) -> None:
        self._file = file
        self._path = path
        self.records = records

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds a line, which is on the disk then. Raises OSError; the log ends where it did then."""
        _append(self._file, self._path, record)


@contextmanager
def opened(path: Path, setting: Mapping[str, Any], *, resume: bool) -> Iterator[Log]:
    """The log of a run with this setting. Within it no other process adds to it.

    Raises RequestError where there is one and the run is not to be resumed, or was made with another setting.
    """
    with FileIO(path, "a+") as file:  # unbuffered: what failed once is not written after all when it is closed
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError(f"another gptoss-chat is writing {path}") from None
        content = read_small(path, _MOST_BYTES)
        whole = content[: content.rfind(b"\n") + 1]  # a line that was cut off is of a try that has to be made again
        if whole.count(b"\n") == 1:  # nothing has been tried
            whole = b""
        if whole and not resume:
            raise RequestError(f"{path} is the log of a run already; --resume goes on with it, another -o begins anew")
        file.truncate(len(whole))
        if not whole:
            _append(file, path, setting)
        first, *records = [_record(line, path) for line in whole.splitlines()] or [dict(setting)]
        for name in setting.keys() | first.keys():
            if first.get(name) != setting.get(name):
                raise RequestError(f"{path} was begun with {_difference(name, first, setting)}; another -o begins anew")
        yield Log(file, path, records)


def begun_with(path: Path) -> dict[str, Any]:
    """The setting of the run whose log this is; nothing where there is none yet, or none that can be read."""
    try:
        first, end, _ = read_small(path, _MOST_BYTES).partition(b"\n")
        return _record(first, path) if end else {}
    except (OSError, RequestError):
        return {}


def _append(file: FileIO, path: Path, record: Mapping[str, Any]) -> None:
    line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    end = file.seek(0, os.SEEK_END)
    try:
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    except OSError as error:
        file.truncate(end)
        raise OSError(error.errno, error.strerror, str(path)) from None


def _record(line: bytes, path: Path) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise RequestError(f"{path} is no log of a run: a line of it can't be read; another -o begins anew")
    return record


def _difference(name: str, first: Mapping[str, Any], setting: Mapping[str, Any]) -> str:
    """What is another, in words."""
    before, now = first.get(name), setting.get(name)
    if isinstance(before, dict) or isinstance(now, dict):
        return f"other {name}"
    return f"{name} {json.dumps(before)}, not {json.dumps(now)}"
