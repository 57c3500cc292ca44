"""The files that a set is made from: those that are named, and all below a folder that is named."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.documents.attachments import AttachmentError
from app.documents.files import document_at, meant
from app.documents.selection import WHOLE, SelectionError, select
from app.lines import one_line
from mlx_model.documents.document import Document, Page

Read = Callable[[str, Callable[[str | None], Document]], Document]
"""Reads a file of this name, with a password where it takes one."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read. `part` says what of it, "" for all."""

    name: str
    sha256: str
    document: Document
    part: str = ""

    def place(self, page: Page, first: int, last: int) -> tuple[str, tuple[int, int]]:
        """Where lines of a page are, in words and as lines; those of a file without pages are the file's."""
        if self.document.has_pages:
            return f"{self.document.unit} {page.number}", (first, last)
        first, last = first + page.number - 1, last + page.number - 1
        return f"line {first}" if first == last else f"lines {first} to {last}", (first, last)


def check_there(names: Sequence[str]) -> None:
    """Raises AttachmentError for the first that is not there. Reads nothing."""
    for name in names:
        if not os.path.lexists(meant(name, None)[0]):
            raise AttachmentError(f"there is no file {one_line(name)}")


def read_sources(names: Sequence[str], read: Read) -> tuple[list[Source], list[str]]:
    """The files, and of each file in a folder that has no text to read, why. Raises AttachmentError for a file that is
    named itself."""
    found: dict[str, Source] = {}
    left_out: list[str] = []
    for name in names:
        path = Path(name)
        if not path.is_dir():
            found.setdefault(name, _source(name, read))
            continue
        for file in _files(path):
            try:
                found.setdefault(str(file), _source(str(file), read))
            except AttachmentError as error:
                left_out.append(one_line(str(error)))
    return [*found.values()], left_out


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, in the order of their names, without hidden ones; no link is followed."""
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(base, name)
            if not name.startswith(".") and not path.is_symlink():
                yield path


def _source(name: str, read: Read) -> Source:
    path, selection = meant(name, None)
    label = one_line(name)
    document = read(label, lambda password: document_at(path, label, selection, password))
    part = ""
    if selection != WHOLE:
        try:
            pages, part = select(document, selection)
        except SelectionError as error:
            raise AttachmentError(f"{label} {error}") from None
        document = replace(document, pages=pages, headings=())
    return Source(label, _digest(path), document, part)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AttachmentError(f"{one_line(str(path))} can't be read: {error.strerror or error}") from None
