"""Short names for texts: the same text has the same one everywhere, and no other has it."""

import hashlib


def digest_of(text: str) -> str:
    """The name of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
