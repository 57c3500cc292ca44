"""Checks single values of files that anybody may have written."""

import hashlib
import re
from typing import Any

from app.chat.conversation import new_id

ID_LENGTH = len(new_id())
LAST_MOMENT = 253402300799.0
"""The end of the year 9999, the last that Python's calendar has."""


class OddValueError(ValueError):
    """A value that the format doesn't have there; says to a person what is wrong, in a few words."""


def text(value: Any) -> str:
    """The value if it is a text. Raises OddValueError."""
    if not isinstance(value, str):
        raise OddValueError("something else stands where a text should")
    return value


def text_or_none(value: Any) -> str | None:
    """The value if it is a text or None. Raises OddValueError."""
    return None if value is None else text(value)


def text_of(value: Any) -> str:
    """The value if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def number(value: Any, bits: int = 63) -> float:
    """The value if it is a number from 0 on that an integer of so many bits could hold; a whole one stays exact.

    Raises OddValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OddValueError("something else stands where a number should")
    if not 0 <= value < 2**bits:  # nor is NaN
        raise OddValueError("a number is out of range")
    return value


def moment(value: Any) -> float:
    """The value if it is a time in seconds since 1970. Raises OddValueError."""
    if number(value) > LAST_MOMENT:
        raise OddValueError("a time is out of range")
    return float(value)


def name_of(id: str) -> str:
    """`id` if it looks like ours, else a name like ours, always the same one: a second import finds the first."""
    return id if re.fullmatch(f"[0-9a-f]{{{ID_LENGTH}}}", id) else hashed(id)


def hashed(*parts: str) -> str:
    """A name like ours for what another program names so; the same parts give the same name."""
    return hashlib.sha256("/".join(parts).encode("utf-8", "replace")).hexdigest()[:ID_LENGTH]


def storable(text: str) -> str:
    """`text` as SQLite can hold it. The replacement character stands for lone surrogates, which no encoding has, and
    for NUL, at which full-text search ends."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
