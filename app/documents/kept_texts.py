"""The texts of documents that were read by parts, by their digests: for what is read later, and for what is quoted."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

from app.digests import digest_of
from app.paths import kept_texts
from metal.files import read_small, replace_file

MOST_IN_MEMORY = 80_000_000
"""Characters of the texts that stay in memory together: of all that a prompt names, or nearly so."""
_MOST_BYTES = 100_000_000

_texts: OrderedDict[str, str] = OrderedDict()
_lock = Lock()  # files are read in threads


def remember(text: str) -> str:
    """Keep a text in memory; returns its digest."""
    digest = digest_of(text)
    with _lock:
        _texts[digest] = text
        _texts.move_to_end(digest)
        size = sum(map(len, _texts.values()))
        while size > MOST_IN_MEMORY and len(_texts) > 1:
            size -= len(_texts.popitem(last=False)[1])
    return digest


def write(folder: Path, digest: str) -> None:
    """Keep a text that is in memory in a folder, too, for its owner alone to read. Raises OSError."""
    path = folder / f"{digest}.txt"
    if (text := _texts.get(digest)) is not None and not path.exists():
        replace_file(path, text.encode("utf-8", "replace"), durable=True, private=True)


def text_of(digest: str) -> str | None:
    """The text with this digest, from memory or from a folder of the program; None where it is not kept."""
    if (text := _texts.get(digest)) is not None:
        return text
    for path in kept_texts(digest):
        try:
            text = read_small(path, _MOST_BYTES).decode("utf-8")
        except (OSError, ValueError):
            continue
        if digest_of(text) == digest:  # else it was changed, or is damaged
            remember(text)
            return text
    return None
