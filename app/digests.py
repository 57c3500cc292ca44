"""Digests: short names of texts, the same everywhere for the same text, another one for any other."""

import hashlib


def digest_of(text: str) -> str:
    """The name of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
