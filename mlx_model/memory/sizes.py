"""Sizes as a person reads and writes them: one rule for memory, one for files, one for contexts, and nowhere another.

Memory is counted in powers of two: it is sold so (a Mac "with 16 GB" has 16 * 2^30 bytes), and Activity Monitor and
`top` show it so. Files, downloads, free disk space and speeds are counted in powers of ten, as macOS' Finder and the
Hub do. Both are written "GB", as everywhere; with at most one decimal, for more would change from start to start. Where
one could be taken for the other, as beside the size of a download, the words "of memory" stand behind it.

A context is counted in tokens, and where the last ones don't matter in thousands of them.
"""

import re
from collections.abc import Callable

from mlx_model.errors import RequestError

AS_PUBLISHED = 16
"""The `dense_bits` of what is not quantised."""


def memory_size(nbytes: int, rounded: Callable[[float], int] = round) -> str:
    """Of memory: "16 GB", "10.7 GB"; below a gigabyte in MB. `rounded` makes a whole number of tenths."""
    return _in_words(nbytes, 2**30, 2**20, rounded)


def disk_size(nbytes: int) -> str:
    """Of files and of a disk: "13.8 GB"; below a gigabyte in MB."""
    return _in_words(nbytes, 10**9, 10**6, round)


def context_size(tokens: int) -> str:
    """Of a context: "12k", rounded down."""
    return f"{tokens // 1000}k" if tokens >= 1000 else str(tokens)


def fit(dense_bits: int, context: int, *, streams: bool = False) -> str:
    """How a model fits: "fits, 4-bit, up to 12k context". Where it `streams`, experts stay on the disk, and how many of
    them are in memory decides what is left to the context: "fits with experts on the disk, 8k context or more"."""
    how = "" if dense_bits == AS_PUBLISHED else f" {dense_bits}-bit,"
    if streams:
        return f"fits with experts on the disk,{how} {context_size(context)} context or more"
    return f"fits,{how} up to {context_size(context)} context"


def _in_words(nbytes: int, gigabyte: int, megabyte: int, rounded: Callable[[float], int]) -> str:
    unit, name = (gigabyte, "GB") if nbytes >= gigabyte else (megabyte, "MB")
    return f"{rounded(nbytes * 10 / unit) / 10:.1f}".removesuffix(".0") + f" {name}"


_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_memory(text: str | int) -> int:
    """Bytes of "10GB" (10 * 2^30, as memory is sold), "10.5 gb", "9GiB", "9500M" or a plain number of bytes.

    Raises RequestError.
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:([kmgt])i?)?b?\s*", str(text), re.IGNORECASE)
    nbytes = int(float(found[1]) * 1024 ** _POWERS[(found[2] or "").lower()]) if found else 0
    if not 0 < nbytes < 2**60:
        raise RequestError(f'the memory size {str(text)[:40]!r} can\'t be used; write it like "10GB" or "9.5GB"')
    return nbytes
