"""The files of an export: one file, those of a folder, or those in a zip archive, which is not unpacked."""

import lzma
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from app.lines import one_line
from app.store.exchange.export import short
from app.store.exchange.json_items import MOST_BYTES, Readable
from mlx_model.errors import GptossError

MOST_FILES = 1000
"""In a folder or an archive; exports have some dozens."""
MOST_LOOKED_AT = 100_000
"""Names in a folder or an archive."""
DEPTH = 3
"""Folders in folders."""
MOST_EXPANSION = 200
"""How many times its size what is in an archive may have: text of people has 3 to 10 times."""
SMALL = 100_000_000
"""Bytes that may be expanded from anything."""

_CONVERSATIONS = re.compile(r"conversations[^/]*\.json", re.IGNORECASE)
_DAMAGED = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile, zipfile.LargeZipFile),
    *(NotImplementedError, RuntimeError, ValueError),
)
"""What reading an archive raises where that is damaged, or packed in a way that Python doesn't know."""
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


class ImportFileError(GptossError):
    """The file can't be read, or has a format that this program doesn't know."""


class Source:
    """A file to read, opened at the first read; `label` is what to call it."""

    def __init__(self, label: str, opener: Callable[[], Readable]) -> None:
        self.label = label
        self._open = opener
        self._file: Readable | None = None

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end. Raises ImportFileError."""
        try:
            if self._file is None:
                self._file = self._open()
            return self._file.read(size)
        except _DAMAGED as error:
            raise ImportFileError(f"{self.label} can't be read: {_reason(error)}") from None


def sources(path: Path | None) -> Iterator[Source]:
    """The files with conversations at a path, or standard input (None). Raises ImportFileError.

    Each can be read until the next one is asked for.
    """
    if path is None:
        yield Source("standard input", _standard_input)
        return
    label = one_line(str(path))
    file = _opened(path, label)
    if file is None:
        for name in _chosen(_names(path, label), label):
            yield from _in_folder(path / name, f"{label}/{short(name)}")
        return
    with file:
        try:
            start = file.read(4)
            file.seek(0)
        except OSError as error:
            raise ImportFileError(f"{label} can't be read: {_reason(error)}") from None
        if start in _ARCHIVES:
            yield from _in_archive(file, label)
        else:
            yield Source(label, lambda: file)


def _standard_input() -> Readable:
    if sys.stdin is None:
        raise ImportFileError("standard input is closed")
    return sys.stdin.buffer


def _opened(path: Path, label: str) -> BinaryIO | None:
    """The open file, None for a folder. What has no end, or waits for somebody who writes, is not read."""
    try:
        # Without O_NONBLOCK opening a pipe would wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise ImportFileError(f"{label} can't be read: {_reason(error)}") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        return None
    hint = " (gptoss-chat import - reads standard input)" if stat.S_ISFIFO(mode) else ""
    raise ImportFileError(f"{label} is not an ordinary file{hint}")


def _in_folder(path: Path, label: str) -> Iterator[Source]:
    with ExitStack() as stack:

        def opened() -> Readable:
            file = _opened(path, label)
            if file is None:
                raise ImportFileError(f"{label} is a folder")
            return stack.enter_context(file)

        yield Source(label, opened)


def _names(folder: Path, label: str) -> list[str]:
    """The files in a folder and in those below it, as far as they can be read; no link to a folder is followed."""

    def fail(error: OSError) -> None:
        if Path(error.filename or "") == folder:
            raise ImportFileError(f"{label} can't be read: {_reason(error)}")

    names: list[str] = []
    for at, folders, files in os.walk(folder, onerror=fail):
        below = Path(at).relative_to(folder)
        names += [str(below / file) for file in files]
        folders[:] = sorted(folders) if len(below.parts) < DEPTH else []
        if len(names) > MOST_LOOKED_AT:
            break
    return names


def _chosen(names: list[str], label: str) -> list[str]:
    """The files with conversations; where none is called so, all that may be exports."""
    if len(names) > MOST_LOOKED_AT:
        raise ImportFileError(f"{label} has more than {MOST_LOOKED_AT:,} files; give the name of the export itself")
    plain = sorted(
        name
        for name in names
        if not name.startswith("__MACOSX/") and not (base := name.rsplit("/", 1)[-1]).startswith(".") and base
    )
    files = [name for name in plain if _CONVERSATIONS.fullmatch(name.rsplit("/", 1)[-1])]
    files = files or [name for name in plain if name.lower().endswith(".json")]
    if not files:
        hint = "; give the names of its archives" if any(name.lower().endswith(".zip") for name in plain) else ""
        raise ImportFileError(f"{label} holds no conversations.json{hint}")
    if len(files) > MOST_FILES:
        raise ImportFileError(f"{label} has more than {MOST_FILES:,} JSON files")
    return files


def _in_archive(file: BinaryIO, label: str) -> Iterator[Source]:
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGED as error:
        raise ImportFileError(f"{label} is a damaged zip archive ({_reason(error)})") from None
    with archive:
        members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
        chosen = [members[name] for name in _chosen(list(members), label)]
        size, packed = sum(each.file_size for each in chosen), sum(each.compress_size for each in chosen)
        if size > MOST_BYTES or (size > SMALL and size > MOST_EXPANSION * packed):
            reason = f"its conversations would expand from {packed / 1e6:,.1f} MB to {size / 1e6:,.1f} MB"
            raise ImportFileError(f"{label} can't be read: {reason}")
        for member in chosen:
            yield _member(archive, member, f"{label}: {short(member.filename)}")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, label: str) -> Source:
    def opened() -> Readable:
        if member.flag_bits & 1:
            raise ImportFileError(f"{label} is locked with a password; unpack the archive first")
        return cast(Readable, archive.open(member))

    return Source(label, opened)


def _reason(error: Exception) -> str:
    return one_line(str(getattr(error, "strerror", None) or error or type(error).__name__))
