"""Looks through a folder: which files there are, and where a text is in them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from pathspec import GitIgnoreSpec

from mlx_model.text import clean
from mlx_model.tools.files.folder import FOLDER_FLAGS, FilesError, Folder, read_at
from mlx_model.tools.files.lines import texts_of

MOST_SEEN = 50_000
"""Names that are looked at in one go."""
LONGEST_S = 10.0
_DEEPEST = 40
_MOST_PATTERNS = 1_000
# A pattern becomes a regular expression, which may take longer with each star.
_MOST_STARS = 6
_LONGEST_PATTERN = 200

_Rules = tuple[tuple[str, GitIgnoreSpec], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a folder has under a name. `path` is that in the opened folder, `parent` the open folder it is in."""

    path: str
    status: os.stat_result
    parent: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a file that can be read here."""
        return stat.S_ISREG(self.status.st_mode)


@dataclass(frozen=True, slots=True)
class Hit:
    """A line, counted from 1, in which a text was found or begins."""

    path: str
    number: int
    text: str


class Walk:
    """One look through a folder, in the order of the names. `is_cut` says that there is more than it looked at."""

    def __init__(self, folder: Folder) -> None:
        self.is_cut = False
        self._folder = folder
        self._left = MOST_SEEN
        self._until = time.monotonic() + LONGEST_S

    def entries(self, path: str) -> Iterator[Entry]:
        """What is in a folder, without what is in its folders."""
        with self._folder.open_folder(path) as opened:
            yield from self._in(opened, path)

    def files(self, path: str = ".", glob: str = "") -> Iterator[Entry]:
        """The files in a folder and below it that fit the glob, but not those that git ignores.

        A glob is what git has in .gitignore: *.py is found at any depth, src/*.py in one folder. Raises FilesError.
        """
        wanted = _spec([glob]) if glob else None
        if glob and not wanted:
            raise FilesError(f'"{clean(glob[:100])}" can\'t be used as a glob: give one such as *.py or src/**/*.md.')
        rules = self._rules_above(path)
        if _is_ignored(rules, path, True):  # somebody wants to see it all the same
            rules = ()
        with self._folder.open_folder(path) as opened:
            for entry in self._below(opened, path, rules):
                if wanted is None or wanted.match_file(entry.path):
                    yield entry

    def hits(self, text: str, glob: str = "") -> Iterator[Hit]:
        """The lines with a text. Case counts if the text has a capital letter."""
        is_exact = text != text.lower()
        for entry in self.files(glob=glob):
            with suppress(FilesError, OSError):
                content = read_at(entry.parent, entry.path.rpartition("/")[2], entry.path)
                lines = texts_of(content.data if content else b"", entry.path)
                whole = "\n".join(lines)
                whole = whole if is_exact else whole.lower()
                for number in _lines_with(text, whole):
                    yield Hit(entry.path, number, lines[number - 1])

    def _below(self, opened: int, path: str, rules: _Rules) -> Iterator[Entry]:
        with suppress(FilesError, OSError):
            content = read_at(opened, ".gitignore", path)
            if content and (spec := _spec(content.data.decode("utf-8", "replace").splitlines())):
                rules = (*rules, (path, spec))
        for entry in self._in(opened, path):
            if _is_ignored(rules, entry.path, entry.is_folder):
                continue
            if entry.is_file:
                yield entry
            elif entry.is_folder and entry.path.count("/") < _DEEPEST:
                try:
                    inner = os.open(entry.path.rpartition("/")[2], FOLDER_FLAGS, dir_fd=opened)
                except OSError:
                    continue
                try:
                    yield from self._below(inner, entry.path, rules)
                finally:
                    os.close(inner)

    def _in(self, opened: int, path: str) -> Iterator[Entry]:
        """What is in an open folder, as long as there is time; names that no call can give are left out."""
        with os.scandir(opened) as found:
            names = sorted(entry.name for entry in islice(found, self._left))
        self._left -= len(names)
        for name in names:
            if self._left <= 0 or time.monotonic() > self._until:
                self.is_cut = True
                return
            inner = name if path == "." else f"{path}/{name}"
            with suppress(FilesError, OSError):
                if self._folder.relative(inner) == inner:
                    status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                    yield Entry(inner, status, opened)

    def _rules_above(self, path: str) -> _Rules:
        """Those of the folders above one."""
        rules: _Rules = ()
        for parent in reversed([str(each) for each in PurePosixPath(path).parents]):
            with suppress(FilesError):
                content = self._folder.read(str(PurePosixPath(parent) / ".gitignore"))
                if content and (spec := _spec(content.data.decode("utf-8", "replace").splitlines())):
                    rules = (*rules, (parent, spec))
        return rules


def _is_ignored(rules: _Rules, path: str, is_folder: bool) -> bool:
    """Whether git ignores a path: what the innermost file has about it counts."""
    for base, spec in reversed(rules):
        inner = path if base == "." else path.removeprefix(f"{base}/")
        verdict = spec.check_file(f"{inner}/" if is_folder else inner).include
        if verdict is not None:
            return verdict
    return False


def _spec(lines: Sequence[str]) -> GitIgnoreSpec | None:
    """The patterns of these lines, without those that can't be used; None if there is none."""
    usable = [each for each in lines if len(each) <= _LONGEST_PATTERN and each.count("*") <= _MOST_STARS]
    patterns: list[Any] = []
    for line in usable[:_MOST_PATTERNS]:
        with suppress(ValueError):
            patterns += GitIgnoreSpec.from_lines([line]).patterns
    return GitIgnoreSpec(patterns) if patterns else None


def _lines_with(text: str, whole: str) -> Iterator[int]:
    """The numbers of the lines in which a text begins."""
    number, line_start = 1, 0
    at = whole.find(text)
    while at >= 0:
        number += whole.count("\n", line_start, at)
        yield number
        line_start = at
        end = whole.find("\n", at)
        at = -1 if end < 0 else whole.find(text, end)
