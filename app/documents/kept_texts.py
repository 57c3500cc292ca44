"""The texts of documents that were read by parts, by their digests: for what is read later, and for what is quoted."""

import hashlib
from collections import OrderedDict
from pathlib import Path

from app.paths import kept_texts
from metal.files import read_small, replace_file

KEPT = 4
"""Texts that stay in memory."""
_MOST_BYTES = 100_000_000

_texts: OrderedDict[str, str] = OrderedDict()


def digest_of(text: str) -> str:
    """A name for a text, which no other has."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def remember(text: str) -> str:
    """Keep a text in memory; returns its digest."""
    digest = digest_of(text)
    _texts[digest] = text
    _texts.move_to_end(digest)
    while len(_texts) > KEPT:
        _texts.popitem(last=False)
    return digest


def write(folder: Path, digest: str) -> None:
    """Keep a text that is in memory in a folder, too. Raises OSError."""
    path = folder / f"{digest}.txt"
    if digest in _texts and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, _texts[digest].encode("utf-8", "replace"))


def text_of(digest: str) -> str | None:
    """The text with this digest, from memory or from a folder of the program; None where it is not kept."""
    if digest in _texts:
        return _texts[digest]
    for path in kept_texts(digest):
        try:
            text = read_small(path, _MOST_BYTES).decode("utf-8")
        except (OSError, ValueError):
            continue
        if digest_of(text) == digest:  # else it was changed, or is damaged
            remember(text)
            return text
    return None
