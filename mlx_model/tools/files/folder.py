"""One folder that a person has opened: files by relative paths, none behind a link, none outside of it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mlx_model.errors import GptossError
from mlx_model.text import clean

MOST_BYTES = 4 << 20
"""Of a file that is read or written."""
_LONGEST_PATH = 1_000
_LONGEST_NAME = 255

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# What a Mac's file system doesn't see in a name; git has the same list.
_UNSEEN = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


class FilesError(GptossError):
    """What can't be done with the files, in words for the model and for the person."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file. `mode` None is that of a new file; `identity` tells whether two names mean one file."""

    data: bytes
    mode: int | None = None
    identity: tuple[int, int] | None = field(default=None, compare=False)


class Folder:
    """The folder at `path`, links in which are resolved once, here.

    Every path below it is opened name by name and no link is followed, so that none leads out, also if it is put
    there meanwhile. Git's own folders are closed. Raises FilesError if there is no folder.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.path = path.resolve(strict=True)
            self._identity = _identity(self.path.stat())
            os.close(os.open(self.path, FOLDER_FLAGS))
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "its links lead round in a circle"
            raise FilesError(f"The folder {path} can't be opened: {reason}.") from None

    def check(self) -> None:
        """Raises FilesError if the folder is gone, or another is in its place."""
        with self._failing(str(self.path)), self._top():
            pass

    def relative(self, path: str) -> str:
        """The plain form of a path, "." for the folder itself; one that begins with the folder's own is understood.

        Raises FilesError for one that leads out of the folder or to what is closed. Looks at no file.
        """
        shown = repr(path[:100])
        if clean(path) != path or "\n" in path or "\t" in path:
            raise FilesError(f"{shown} has characters that no path may have here.")
        pure = PurePosixPath(path.strip())
        if pure.is_absolute():
            with suppress(ValueError):
                pure = pure.relative_to(self.path)
        if pure.is_absolute() or ".." in pure.parts:
            raise FilesError(f"{shown} is outside of the opened folder: give a path relative to it, without .. in it.")
        if len(path) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in pure.parts):
            raise FilesError(f"{shown}... is too long for a path.")
        if any(is_git(part) for part in pure.parts):
            raise FilesError(f"{shown} belongs to git, whose files are closed.")
        return str(pure)

    def read(self, path: str) -> Content | None:
        """What is in a regular file, None where there is nothing of this name. Raises FilesError for anything else."""
        with self._at(path) as place:
            if place is None:
                return None
            return read_at(*place, path)

    @contextmanager
    def open_folder(self, path: str = ".") -> Iterator[int]:
        """The descriptor of a folder. Raises FilesError if there is none."""
        with self._failing(path), self._top() as top:
            descriptor = _descend(top, [] if path == "." else path.split("/"))
            try:
                yield descriptor
            finally:
                os.close(descriptor)

    def missing_folders(self, path: str) -> tuple[str, ...]:
        """The folders that a file of this path needs and that there aren't, the outermost first."""
        parents = [str(each) for each in PurePosixPath(path).parents][-2::-1]
        return tuple(each for each in parents if not self._is_there(each))

    def stage(self, path: str, content: Content) -> None:
        """Writes a file beside `path`, for `put`. Folders that are missing are made."""
        with self._at(path, make=True) as place:
            assert place is not None
            folder, name = place[0], _staged(path)
            with suppress(FileNotFoundError):  # of a program that was killed
                os.unlink(name, dir_fd=folder)
            try:
                with open(os.open(name, _NEW, 0o666, dir_fd=folder), "wb") as file:  # noqa: PTH123  # a descriptor
                    file.write(content.data)
                    if content.mode is not None:
                        os.fchmod(file.fileno(), content.mode)
            except BaseException:
                with suppress(OSError):
                    os.unlink(name, dir_fd=folder)
                raise

    def put(self, path: str) -> None:
        """Gives the staged file its name, in place of what has it."""
        with self._at(path) as place:
            if place is None:
                raise FilesError(f"{path}: its folder is gone.")
            folder, name = place
            os.replace(_staged(path), name, src_dir_fd=folder, dst_dir_fd=folder)

    def unstage(self, path: str) -> None:
        """Removes the staged file, if there is one."""
        with self._at(path) as place, suppress(FileNotFoundError):
            if place is not None:
                os.unlink(_staged(path), dir_fd=place[0])

    def remove(self, path: str) -> None:
        """Removes a file."""
        with self._at(path) as place:
            if place is not None:
                os.unlink(place[1], dir_fd=place[0])

    def remove_empty(self, folders: Iterable[str]) -> None:
        """Removes those of the folders, given the outermost first, that are empty."""
        for path in reversed(list(folders)):
            with suppress(OSError, FilesError), self._at(path) as place:
                if place is not None:
                    os.rmdir(place[1], dir_fd=place[0])

    def _is_there(self, path: str) -> bool:
        with self._at(path) as place:
            if place is None:
                return False
            with suppress(FileNotFoundError):
                os.stat(place[1], dir_fd=place[0], follow_symlinks=False)
                return True
            return False

    @contextmanager
    def _at(self, path: str, make: bool = False) -> Iterator[tuple[int, str] | None]:
        """The descriptor of the folder that a file is in, and the file's name; None where that folder is missing."""
        *folders, name = path.split("/")
        with self._failing(path), self._top() as top:
            try:
                folder = _descend(top, folders, make)
            except FileNotFoundError:
                yield None
                return
            try:
                yield folder, name
            finally:
                os.close(folder)

    @contextmanager
    def _top(self) -> Iterator[int]:
        top = os.open(self.path, FOLDER_FLAGS)
        try:
            if _identity(os.fstat(top)) != self._identity:
                raise FilesError("The opened folder was replaced by another: it has to be opened again.")
            yield top
        finally:
            os.close(top)

    @contextmanager
    def _failing(self, path: str) -> Iterator[None]:
        """Makes errors of the system ones of FilesError."""
        try:
            yield
        except OSError as error:
            raise FilesError(f"{path}: {reason_of(error)}.") from None


def _staged(path: str) -> str:
    """The name of a staged file: always the same, so that one that was left behind is found."""
    return f".gptoss-{hashlib.sha256(path.encode()).hexdigest()[:16]}"


def is_git(name: str) -> bool:
    """Whether a file system may take a name for git's own, ".git"."""
    seen = unicodedata.normalize("NFKD", name.translate(_UNSEEN)).casefold().partition(":")[0].rstrip(". ")
    return seen == ".git" or re.fullmatch(r"git~\d", seen) is not None


def read_at(folder: int, name: str, path: str) -> Content | None:
    """What is in a regular file of an open folder, None where there is nothing. Raises FilesError and OSError."""
    try:
        _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor
        status = os.fstat(descriptor)
        _check_regular(status, path)
        data = file.read(MOST_BYTES + 1) if status.st_size <= MOST_BYTES else b""
    if status.st_size > MOST_BYTES or len(data) > MOST_BYTES:
        raise FilesError(f"{path} has {status.st_size:,} bytes, more than the {MOST_BYTES:,} that can be read here.")
    return Content(data, status.st_mode & 0o777, _identity(status))


def reason_of(error: OSError) -> str:
    """What an error of the system says, in words for the model."""
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a part of the path is a link, which is not followed here, or no folder"
    return (error.strerror or str(error)).lower()


def _check_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise FilesError(f"{path} is a link, and links are not followed here: give the path of the file itself.")
    if stat.S_ISDIR(status.st_mode):
        raise FilesError(f"{path} is a folder.")
    if not stat.S_ISREG(status.st_mode):
        raise FilesError(f"{path} is no regular file.")


def _descend(top: int, names: list[str], make: bool = False) -> int:
    """The descriptor of a folder below an open one."""
    folder = os.dup(top)
    try:
        for name in names:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=folder)
            inner = os.open(name, FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
