"""The parts of a file to choose from while its name is typed, as `paper.pdf#` or `paper.pdf:`, with their sizes."""

import stat
from dataclasses import dataclass
from pathlib import Path

from app.documents.attachments import AttachmentError
from app.documents.files import document_at, find
from app.documents.selection import Selection, SelectionError, divide, sections, select
from app.lines import counted, one_line
from mlx_model.documents.document import Document, joined
from mlx_model.tokens import about_tokens

MOST_WORDS = 40
"""Characters of a title, and of a page's beginning, that are shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file or a part of one: what is written for it, what is shown, and what is said of it."""

    name: str
    title: str
    size: str = ""


def parts(typed: str, folder: Path, most: int) -> list[Part]:
    """Up to `most` parts that `typed` may become: the sections of a file behind a `#`, its pages behind a `:`, what is
    found for words behind a `?`, all of it behind a `*`.

    Reads the file. Nothing where none is meant, or where it can't be read: choosing it says why.
    """
    part = divide(typed)
    is_search = part is not None and bool(part[1].words)
    sign = max("#:", key=typed.rfind)
    is_chosen = part is not None and (is_search or part[1].by_parts)
    name, _, asked = (part[0], "", "") if part and is_chosen else typed.rpartition(sign)
    if not name:
        return []
    try:
        path = find(name, folder)
        if not stat.S_ISREG(path.stat().st_mode):
            return []
        document = document_at(path, one_line(name))
    except (AttachmentError, OSError, ValueError):
        return []
    if part and is_chosen:
        return _found(document, typed, part[1])
    return [*_whole(document, name, asked), *(_sections if sign == "#" else _pages)(document, name, asked, most)]


def size_of(name: str, folder: Path) -> str:
    """The size of a file, "" for a folder."""
    try:
        status = find(name, folder).stat()
    except (AttachmentError, OSError, ValueError):
        return ""
    return in_words(status.st_size) if stat.S_ISREG(status.st_mode) else ""


def in_words(size: int) -> str:
    """A number of bytes."""
    if size < 1000:
        return counted(size, "byte")
    return f"{size / 1000:,.1f} kB" if size < 1_000_000 else f"{size / 1e6:,.1f} MB"


def _whole(document: Document, name: str, asked: str) -> list[Part]:
    """All of it, as long as nothing of a part is typed."""
    count = counted(document.count, document.unit)
    return [] if asked else [Part(name, "all of it", f"{count}, about {about_tokens(document.text):,} tokens")]


def _found(document: Document, typed: str, selection: Selection) -> list[Part]:
    """What is found for the words that are typed, or what is to be read by parts."""
    try:
        pages, how = select(document, selection)
    except SelectionError:
        return []
    how = f"by parts: {how or 'all of it'}" if selection.by_parts else how
    return [Part(typed, how, f"about {about_tokens(joined(pages)):,} tokens")]


def _sections(document: Document, name: str, asked: str, most: int) -> list[Part]:
    found = []
    for heading, page, tokens in sections(document):
        if asked.casefold() in heading.title.casefold():
            where = f"{document.unit} {page.number}, " if document.has_pages else ""
            title = one_line(heading.title).replace('"', "'")
            shown = title if len(title) <= MOST_WORDS else f"{title[:MOST_WORDS]}\u2026"
            found.append(Part(f"{name}#{title}", shown, f"{where}about {tokens:,} tokens"))
    return found[:most]


def _pages(document: Document, name: str, asked: str, most: int) -> list[Part]:
    """The pages whose number begins as typed; behind a dash, the ranges up to each page."""
    if not document.has_pages:
        return []
    first, dash, last = asked.rpartition(",")[2].partition("-")
    before = asked[: len(asked) - len(last)] if dash else asked[: len(asked) - len(first)]
    found: list[Part] = []
    taken = 0
    for page in document.pages:
        if dash and not (first.isdecimal() and page.number >= int(first)):
            continue
        tokens = about_tokens(joined([page]))
        taken += tokens
        if str(page.number).startswith(last if dash else first):
            words = " ".join(one_line(page.text[: 3 * MOST_WORDS]).split())[:MOST_WORDS]
            size = f"{words}  about {taken if dash else tokens:,} tokens"
            found.append(Part(f"{name}:{before}{page.number}", f"{document.unit} {page.number}", size))
            if len(found) == most:
                break
    return found
