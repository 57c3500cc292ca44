"""Sizes of memory and files as a person writes and reads them."""

import re

from mlx_model.errors import RequestError


def gigabytes(nbytes: int) -> str:
    """Decimal, as files and sizes on the Hub are counted: "11.45 GB"; below a gigabyte in MB."""
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_size(text: str | int) -> int:
    """Bytes of "10GB", "10.5 gb", "9GiB", "9500M" or a plain number of bytes. Raises RequestError."""
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([kmgt]i?)?b?\s*", str(text), re.IGNORECASE)
    nbytes = int(float(found[1]) * _UNITS[(found[2] or "").lower()]) if found else 0
    if not 0 < nbytes < 2**60:
        raise RequestError(f'the memory size {str(text)[:40]!r} can\'t be used; write it like "10GB" or "9.5GiB"')
    return nbytes
