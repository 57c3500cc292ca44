"""From the name that a person writes to what goes into the prompt: the file is found, read, and its part chosen."""

import os
import stat
from collections import OrderedDict
from pathlib import Path

from app.documents.attachments import QUOTE, Attachment, AttachmentError, AttachmentLocked
from app.documents.cited_pages import citation_in
from app.documents.notes import to_be_read
from app.documents.selection import (
    BY_PARTS,
    MOST_FOUND_TOKENS,
    SOURCE,
    WHOLE,
    Selection,
    SelectionError,
    divide,
    fitting,
    select,
)
from app.lines import one_line
from mlx_model.documents.document import Document, DocumentError, DocumentLocked, Wanted, joined

MOST_BYTES = 1_000_000
"""Of text that is attached, in UTF-8: some 250,000 tokens, twice what gpt-oss reads at once."""
MOST_FILE_BYTES = 50_000_000
"""Of a file, most of which may be pictures."""
MOST_TEXT = 20_000_000
"""Characters that are read of a file, of which a part is chosen."""
KEPT = 4
"""Documents that stay in memory: while a part is chosen, a file is asked for again and again."""
LEAST_FOR_NOTES = 1000
"""Tokens that the notes on a document take in any case."""
STANDARD_INPUT = "standard input"

_documents: OrderedDict[tuple[str, int, int], Document] = OrderedDict()


def find(name: str, folder: Path) -> Path:
    """The file that a person means by `name` in `folder`. Raises AttachmentError.

    A relative name leads out of the folder only where the person wrote `..` themselves, never through a link.
    """
    label = one_line(name)
    try:
        path = Path(name).expanduser() if name.startswith("~") else Path(name)
        own_way = path.is_absolute() or ".." in path.parts
        inside = own_way or (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # an unknown user's home, a loop of links, a NUL in the name
        raise AttachmentError(f"there is no file {label}") from None
    if not inside:
        raise AttachmentError(f"{label} leads out of this folder through a link; give its full path")
    return folder / path


def meant(name: str, folder: Path | None) -> tuple[Path, Selection]:
    """The file that is meant, and the part of it; a file of the whole name comes first. Without a folder the name is a
    path, as on a command line. Raises AttachmentError."""
    path = find(name, folder) if folder else Path(name)
    if (parts := divide(name)) is not None and not _is_there(path):
        return find(parts[0], folder) if folder else Path(parts[0]), parts[1]
    return path, WHOLE


def attach(name: str, folder: Path | None, password: str | None = None) -> Attachment:
    """What goes into the prompt of the file, or the part of one, that a person means by `name`, as `meant` has it.

    Raises AttachmentLocked where it takes a password, AttachmentError.
    """
    path, selection = meant(name, folder)
    return read(path, name, selection, password)


def read(path: Path, name: str | None = None, selection: Selection = WHOLE, password: str | None = None) -> Attachment:
    """Read a file, or a part of one, which `name` is to name. Raises AttachmentLocked, AttachmentError."""
    name = one_line(str(path) if name is None else name)
    return _attachment(document_at(path, name, selection, password), name, selection)


def read_bytes(data: bytes, name: str, password: str | None = None) -> Attachment:
    """As `read`: a file that was read already, or standard input, as far as MOST_FILE_BYTES and one more byte."""
    return whole(document_of(data, name, password), name)


def document_at(path: Path, name: str, selection: Selection = WHOLE, password: str | None = None) -> Document:
    """The document of a file: all of it, or of a PDF only the pages that are selected. Raises AttachmentLocked,
    AttachmentError, which name the file without the part."""
    name = _base(name, selection)
    try:
        status = path.stat()
        key = (str(path.resolve()), status.st_mtime_ns, status.st_size)
    except (OSError, ValueError, RuntimeError):
        key = ("", 0, 0)  # it is said why below
    if (kept := _documents.get(key)) is not None and selection.section != SOURCE:
        return kept
    document = _document(_bytes(path, name), name, selection, password)
    if not selection.pages and selection.section != SOURCE:
        _documents[key] = document
        while len(_documents) > KEPT:
            _documents.popitem(last=False)
    return document


def document_of(data: bytes, name: str, password: str | None = None) -> Document:
    """The document of a file that was read already. Raises AttachmentLocked, AttachmentError."""
    return _document(data, name, WHOLE, password)


def whole(document: Document, name: str) -> Attachment:
    """All of a document, to go into a prompt. Raises AttachmentError if it is too long for any."""
    return _attachment(document, name, WHOLE)


def proposal(document: Document, name: str, tokens: int) -> str:
    """What to attach in place of a file that does not fit into so many tokens: some of its pages, what is found in it
    for some words, or notes on all of it; "" if nothing of it fits."""
    part = fitting(document, tokens)
    fits = f"{document.unit}s {part[1:]} fit: {name}{part}" if part else ""
    search = f"search it: {name}?words" if tokens >= MOST_FOUND_TOKENS else ""
    by_parts = f"read all of it by parts: {name}{BY_PARTS}" if tokens >= LEAST_FOR_NOTES else ""
    return ", or ".join(filter(None, (fits, search, by_parts)))


def what_fits(name: str, folder: Path | None, tokens: int) -> str:
    """What of a file or part fits into so many tokens, as `proposal` says it; "" where that can't be said."""
    try:
        path, selection = meant(name, folder)
        document = document_at(path, name) if selection == WHOLE else None
    except AttachmentError:
        return ""
    return proposal(document, name, tokens) if document is not None else ""


def _attachment(document: Document, name: str, selection: Selection) -> Attachment:
    try:
        if selection.section == SOURCE:
            pages, part = document.pages, ""
        else:
            pages, part = select(document, selection)
    except SelectionError as error:
        raise AttachmentError(f"{_base(name, selection)} {error}") from None
    if selection.by_parts:
        return to_be_read(name, pages, part, document.notes)
    notes = [*([part] if part else []), *document.notes]
    note = one_line("; ".join(notes)).replace(QUOTE, "'")
    attachment = Attachment(name, joined(pages), note, citation_in(pages))
    if attachment.size > MOST_BYTES:
        base = _base(name, selection)
        piped = name == STANDARD_INPUT  # of which no part can be named
        fits = proposal(document, "FILE" if piped else base, MOST_BYTES // 4) if selection == WHOLE else ""
        fits = f"write it to a file and attach a part of that with --file: {fits}" if piped and fits else fits
        what = f"{name} has {attachment.size / 1e6:,.1f} MB of text; at most {MOST_BYTES / 1e6:,.0f} MB can be attached"
        raise AttachmentError(f"{what}; {fits or 'choose less of it'}")
    return attachment


def _base(name: str, selection: Selection) -> str:
    parts = divide(name) if selection != WHOLE else None
    return parts[0] if parts else name


def _document(data: bytes, name: str, selection: Selection, password: str | None) -> Document:
    if len(data) > MOST_FILE_BYTES:
        raise AttachmentError(f"{name} has more than {MOST_FILE_BYTES / 1e6:,.0f} MB, the most that is read of a file")
    from mlx_model.documents.reading import read_document  # now: most prompts have no file

    wanted = Wanted(MOST_TEXT, selection.pages, password)
    try:
        return read_document(data, name, wanted, as_source=selection.section == SOURCE)
    except DocumentLocked as error:
        raise AttachmentLocked(f"{name} {error}") from None
    except DocumentError as error:
        raise AttachmentError(f"{name} {error}") from None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _bytes(path: Path, name: str) -> bytes:
    """The content, at most one byte more than MOST_FILE_BYTES, however the file grows meanwhile."""
    try:
        _check_kind(path.stat(), name)
        # The path may lead to a pipe by now, which would make `open` wait; some files of /proc make `read` wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            _check_kind(status, name)
            if status.st_size > MOST_FILE_BYTES:
                raise AttachmentError(_too_large(name, status.st_size))
            data: bytes | None = file.read(MOST_FILE_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise AttachmentError(f"{name} is a link to a file that isn't there") from None
        raise AttachmentError(f"there is no file {name}") from None
    except (OSError, ValueError) as error:
        raise AttachmentError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}") from None
    if data is None:
        raise AttachmentError(f"{name} can't be read: it has no data now, and reading on would wait")
    return data


def _check_kind(status: os.stat_result, name: str) -> None:
    if not name:
        raise AttachmentError("the name of the file is empty")
    if stat.S_ISDIR(status.st_mode):
        raise AttachmentError(f"{name} is a folder; attach the files in it one by one")
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):  # reading would wait for a writer
        raise AttachmentError(f"{name} is a pipe, not an ordinary file; pipe it in: ... | gptoss-chat ask")
    if not stat.S_ISREG(status.st_mode):  # a device may have no end
        raise AttachmentError(f"{name} is a device, not an ordinary file")


def _too_large(name: str, size: int) -> str:
    return f"{name} has {size / 1e6:,.1f} MB; files of at most {MOST_FILE_BYTES / 1e6:,.0f} MB are read"
