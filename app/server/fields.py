"""Reads a JSON object that anyone may have sent: a value of the wrong type is an error that names its path.

What is not asked for is not looked at, so fields that a client knows and this program doesn't pass.
"""

from collections.abc import Collection, Iterator
from typing import Any

from app.server.errors import ApiError


class Fields:
    """The fields of one object. A field that is null counts as one that is not there.

    Raises ApiError if `value` is no object; so does each method for a value of another type than it says.
    """

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, dict):
            raise ApiError(f"{path or 'the body'} must be an object, not {kind_of(value)}", path or None)
        self._value: dict[str, Any] = value
        self.path = path

    def at(self, key: str) -> str:
        """The path of a field: "input[0].content"."""
        return f"{self.path}.{key}" if self.path else key

    def error(self, key: str, what: str) -> ApiError:
        """An error of a field: `what` follows its path."""
        return ApiError(f"{self.at(key)} {what}", self.at(key))

    def get(self, key: str) -> Any:
        """A value as it came, None if it isn't there."""
        return self._value.get(key)

    def object(self) -> dict[str, Any]:
        """All of it, as it came."""
        return self._value

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self.get(key)
        if not isinstance(value, str | None):
            raise self._wrong(key, "a text")
        return default if value is None else value

    def name(self, key: str) -> str:
        """A text that has to be there, and not empty."""
        value = self.get(key)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a text that is not empty")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(key)
        if not isinstance(value, bool | None):
            raise self._wrong(key, "true or false")
        return default if value is None else value

    def integer(self, key: str) -> int | None:
        """A whole number; one written as 5.0 counts."""
        value = self.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, float):
            raise self.error(key, f"is {value!r}; it must be a whole number")
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise self._wrong(key, "a whole number")
        return value

    def number(self, key: str) -> float | None:
        """A number."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise self._wrong(key, "a number")
        return value

    def choice(self, key: str, allowed: Collection[str], default: str) -> str:
        """One of some texts."""
        value = self.text(key, default)
        if value not in allowed:
            raise self.error(key, f"is {value[:80]!r}; it must be one of {', '.join(allowed)}")
        return value

    def inner(self, key: str) -> "Fields | None":
        """An object."""
        return Fields(self.get(key), self.at(key)) if key in self else None

    def inner_or_empty(self, key: str) -> "Fields":
        """An object, an empty one if it isn't there."""
        return self.inner(key) or Fields({}, self.at(key))

    def items(self, key: str) -> list[Any]:
        """A list, an empty one if it isn't there."""
        value = self.get(key)
        if not isinstance(value, list | None):
            raise self._wrong(key, "a list")
        return value or []

    def inners(self, key: str) -> "Iterator[Fields]":
        """The objects of a list."""
        for index, value in enumerate(self.items(key)):
            yield Fields(value, f"{self.at(key)}[{index}]")

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        values = self.items(key)
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.error(f"{key}[{index}]", f"must be a text, not {kind_of(value)}")
        return values

    def _wrong(self, key: str, must: str) -> ApiError:
        return self.error(key, f"must be {must}, not {kind_of(self.get(key))}")


def kind_of(value: object) -> str:
    """What a JSON value is, for an error."""
    match value:
        case None:
            return "missing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text" if value else "an empty text"
        case list():
            return "a list"
    return "an object"


def text_of_parts(fields: Fields, key: str, kinds: Collection[str]) -> str:
    """A content: a text, or a list of text parts of these types (a refusal has its own key). Raises ApiError."""
    value = fields.get(key)
    if isinstance(value, str | None):
        return value or ""
    if not isinstance(value, list):
        raise fields.error(key, f"must be a text or a list of parts, not {kind_of(value)}")
    texts = []
    for part in fields.inners(key):
        kind = part.text("type", "text")
        if kind == "refusal":
            texts.append(part.text("refusal"))
        elif kind in kinds:
            texts.append(part.text("text"))
        else:
            raise part.error("type", f"is {kind[:80]!r}; gpt-oss reads text alone")
    return "".join(texts)
