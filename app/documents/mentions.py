"""`@name` in what a person types: which files it may mean."""

import itertools
import os
import re
from pathlib import Path

from app.documents.attachments import AttachmentError

MOST_ENTRIES = 5000
"""Entries of a folder that are looked at; a larger one is cut off there, so that typing never waits."""

_MENTION = re.compile(r'(?:^|(?<=[\s(]))@(?:"(?P<quoted>[^"]*)|(?P<bare>[^\s"]*))$')
_WRITTEN = re.compile(r'(?:^|(?<=[\s(]))@(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s"]+))')
_AFTER_A_NAME = ".,;:!?)"


def mention(line: str) -> tuple[int, str] | None:
    """Where a mention begins that ends at the end of `line`, and the name as far as it is typed; None without one.

    `@` within a word, as in a mail address, begins none. A name with spaces stands in quotes: `@"my file.txt"`.
    """
    match = _MENTION.search(line)
    if match is None:
        return None
    return match.start(), match["bare"] if match["quoted"] is None else match["quoted"]


def written(name: str) -> str:
    """How a mention of this name is written."""
    return f'@"{name}"' if re.search(r"\s", name) else f"@{name}"


def names_in(text: str) -> list[str]:
    """The names of all mentions that are written in `text`, each once, without what ends a sentence behind them."""
    names = (match["quoted"] or match["bare"].rstrip(_AFTER_A_NAME) for match in _WRITTEN.finditer(text))
    return list(dict.fromkeys(filter(None, names)))


def looks_like_path(name: str) -> bool:
    """Whether `name` can only mean a file: not a person, whom `@someone` names, nor a call like `@app.route(...)`."""
    return ("." in name or "/" in name) and not set(name) & set("@(")


def candidates(typed: str, folder: Path, most: int, suffixes: tuple[str, ...] | None = None) -> list[str]:
    """Up to `most` names that `typed` may become, those of folders with a slash at the end; files only with one of the
    `suffixes`, if these are given.

    What begins as typed comes before what only contains it, then in the order of the alphabet. A file whose name begins
    with a dot is offered only once the dot is typed, and a link out of the folder never (see attachments.find).
    """
    if typed in ("~", "..") or typed.endswith("/.."):
        return [f"{typed}/"]
    from app.documents.files import find  # now, as in every function here: most prompts name no file

    head, slash, tail = typed.rpartition("/")
    part = tail.casefold()
    matches: list[tuple[bool, str, str]] = []
    try:
        with os.scandir(find(head + slash or ".", folder)) as entries:
            for entry in itertools.islice(entries, MOST_ENTRIES):
                name = entry.name.casefold()
                whole = f"{head}{slash}{entry.name}"
                hidden = name.startswith(".") and not part.startswith(".")
                if part not in name or hidden or (kind := _kind(entry, whole, folder)) is None:
                    continue
                if kind or suffixes is None or name.endswith(suffixes):
                    matches.append((not name.startswith(part), name, whole + kind))
    except (AttachmentError, OSError, ValueError):
        return []
    return [whole for _, _, whole in sorted(matches)[:most]]


def _kind(entry: os.DirEntry[str], name: str, folder: Path) -> str | None:
    """A slash for a folder, nothing for a file, None for what can't be attached."""
    from app.documents.files import find

    try:
        if entry.is_symlink():
            find(name, folder)
        return "/" if entry.is_dir() else "" if entry.is_file() else None
    except (AttachmentError, OSError):
        return None
