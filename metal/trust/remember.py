"""Keeps what was found out about kernels on this machine in a JSON file, tries that never ended included."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from metal.files import parse_json, read_small, replace_file

log = logging.getLogger(__name__)

Note = dict[str, Any]

_MOST_SUBJECTS = 16
"""Subjects the file holds, the newest: every update of macOS or of MLX makes new ones."""


def default_path() -> Path:
    """The file in the user's cache folder."""
    return user_cache_path("gptoss-chat", appauthor=False) / "kernels.json"


def kernel_text() -> str:
    """A hash of everything that decides what a kernel computes: its text and the Python that launches it."""
    digest = hashlib.sha256()
    for name, file in sorted(_sources(files("metal"), "metal")):
        digest.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _sources(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for child in folder.iterdir():
        if child.is_dir():
            yield from _sources(child, f"{name}/{child.name}")
        elif child.name.endswith((".metal", ".h", ".py")):
            yield f"{name}/{child.name}", child


class Notes:
    """Notes by subject (machine, versions, sizes) and name (operation) in one file.

    A file that can't be read counts as empty, one that can't be written stays as it is; either costs one line in the
    log. Two processes that write at once may lose each other's notes, never the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._complained = False

    def subjects(self) -> dict[str, dict[str, Note]]:
        """Everything in the file, the newest subject last."""
        try:
            subjects = parse_json(read_small(self.path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._complain(f"can't be read ({error.strerror or error}); kernels are chosen again")
            return {}
        except ValueError:
            subjects = None
        if not _is_well_formed(subjects):
            self._complain("is damaged; kernels are chosen again, and the file is replaced")
            return {}
        return dict(subjects)

    def read(self, subject: str, name: str) -> Note:
        """One note, empty if there is none."""
        return self.subjects().get(subject, {}).get(name, {})

    def write(self, subject: str, name: str, note: Note) -> None:
        """Keeps a note in place of an earlier one of this name."""
        subjects = self.subjects()
        mine = subjects.pop(subject, {}) | {name: note}
        kept = dict(list(subjects.items())[-(_MOST_SUBJECTS - 1) :])
        try:
            content = json.dumps(kept | {subject: mine}, indent=1).encode()
            # What ends a try that hangs the GPU may be the power button.
            replace_file(self.path, content, durable=is_unended(note))
        except OSError as error:
            self._complain(f"can't be written ({error.strerror or error}); kernels are chosen again at the next start")

    def _complain(self, problem: str) -> None:
        if not self._complained:
            log.warning("%s %s", self.path, problem)
        self._complained = True


def _is_well_formed(subjects: Any) -> bool:
    return isinstance(subjects, dict) and all(
        isinstance(notes, dict) and all(isinstance(note, dict) for note in notes.values())
        for notes in subjects.values()
    )


_LONGEST_TRY_S = 600


def begun(earlier: Note) -> Note:
    """The note that says: this process is about to try something that might not come back."""
    return {"tries": tries(earlier) + 1, "by": os.getpid(), "since": int(time.time())}


def tries(note: Note) -> int:
    """How often it was tried without coming back."""
    count = note.get("tries", 0)
    return count if isinstance(count, int) else 0


def is_unended(note: Note) -> bool:
    """Whether a try was begun and has not come back."""
    return "by" in note


def is_going_on(note: Note) -> bool:
    """Whether the process that began an unended try is another one, and alive."""
    process, since = note["by"], note.get("since")
    if not isinstance(process, int) or process <= 0 or process == os.getpid():
        return False
    if not isinstance(since, int) or abs(time.time() - since) > _LONGEST_TRY_S:
        return False  # too long ago: by now the number belongs to another process
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
