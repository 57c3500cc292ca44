"""Reads the items of a JSON file one after the other, so that a file of gigabytes takes the memory of its largest item.

The file is a list, an object with a list `conversations`, one object, or several of these in a row (JSON Lines).
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Protocol

CHUNK = 1 << 18
"""Bytes read at once, unless an item is longer."""
MOST_ITEM = 100_000_000
"""Characters of one item: the longest conversations of other programs have a tenth of that."""
MOST_BYTES = 16_000_000_000
"""Of a file: what has no end is not read for ever."""
MOST_SPACE = 10_000_000
"""Characters between two items."""
LIST = "conversations"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*("?)', re.DOTALL)
"""A bracket, or a string, whose end may not have been read yet."""
_CUT_STRING = "Unterminated string"
"""How Python's error begins where a string does not end."""
_NEAR_THE_END = 16
"""A word, a number or an escape that is cut at the end of what was read fails within so many characters of it."""


class Readable(Protocol):
    """An open binary file."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class JsonError(ValueError):
    """The file is not JSON, or not to its end; the text says why."""


class JsonItems:
    """Iterates over the items; None stands for one that is nested too deeply. Raises JsonError, and what reading the
    file raises.

    `fields` are those of an object around the list, as far as they were read; `start` the first bytes of the file.
    """

    def __init__(self, file: Readable) -> None:
        self.fields: dict[str, Any] = {}
        self.start = file.read(CHUNK)
        self._file = file
        self._waiting = self.start  # read but not decoded
        bom, encoding = next((each for each in _BOMS if self.start.startswith(each[0])), (b"", ""))
        self._waiting = self.start[len(bom) :]
        self._encoding = encoding or json.detect_encoding(self.start)
        self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogatepass")
        self._bytes = 0
        self._text = ""
        self._at = 0  # where in it the rest begins
        self._before = 0  # characters that were dropped in front of it
        self._end = ""  # why there is nothing more to read, "" while there is
        self._json = json.JSONDecoder(strict=False, parse_int=_integer)

    def __iter__(self) -> Iterator[Any]:
        if not self._next():
            raise JsonError("it is empty" if self._end == _END else self._end)
        while char := self._next():
            if char == "[":
                yield from self._list()
            elif char == "{":
                yield from self._object()
            else:
                yield self._value()
        if self._end != _END:
            raise JsonError(self._end)

    def _list(self) -> Iterator[Any]:
        self._at += 1
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._separator("]"):
                return

    def _object(self) -> Iterator[Any]:
        """The object, or the items of its list."""
        fields: dict[str, Any] = {}
        self.fields = fields
        self._at += 1
        is_wrapper = False
        start = self._before + self._at
        if self._next() == "}":
            self._at += 1
            yield fields
            return
        while True:
            key = self._value()
            if self._next() != ":" or not isinstance(key, str):
                raise self._wrong("a name and a colon are missing")
            self._at += 1
            if key == LIST and self._next() == "[":
                is_wrapper = True
                before = self._before + self._at
                yield from self._list()
                start += self._before + self._at - before
            else:
                fields[key] = self._value()
            if self._before + self._at - start > MOST_ITEM:
                raise JsonError(_TOO_LONG)
            if self._separator("}"):
                break
        if not is_wrapper:
            yield fields

    def _separator(self, closing: str) -> bool:
        """Whether the list or object ends here; else there was a comma."""
        char = self._next()
        if char not in (",", closing) or not char:
            raise self._wrong("a comma is missing")
        self._at += 1
        return char == closing

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                good = error.pos - self._at
                is_cut = error.pos > len(self._text) - _NEAR_THE_END or error.msg.startswith(_CUT_STRING)
                if not (is_cut and self._more()):
                    self._at += good
                    raise self._wrong(error.msg) from None
            except RecursionError:
                self._skip()
                return None
            else:
                if end < len(self._text) or not self._more():  # a number may go on
                    self._at = end
                    return value

    def _skip(self) -> None:
        """Pass over a value that is nested too deeply to be read."""
        depth = 0
        at = self._at
        while True:
            for match in _TOKEN.finditer(self._text, at):
                if match[0][0] == '"' and not match[1]:
                    at = match.start()
                    break
                at = match.end()
                depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
                if not depth:
                    self._at = at
                    return
            self._at = at
            if not self._more():
                raise JsonError(self._end)
            at = 0

    def _next(self) -> str:
        """The next character that is no space, "" at the end."""
        spaces = 0
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            spaces += match.end() - self._at
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if spaces > MOST_SPACE:
                raise JsonError("it is empty but for spaces")
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read on: as much as the rest has, so that a long item is looked at a few times only."""
        if self._end:
            return False
        self._before += self._at
        self._text, self._at = self._text[self._at :], 0
        if len(self._text) > MOST_ITEM:
            raise JsonError(_TOO_LONG)
        while not self._end:
            data = self._waiting or self._file.read(max(CHUNK, len(self._text)))
            self._waiting = b""
            self._bytes += len(data)
            if self._bytes > MOST_BYTES:
                raise JsonError(f"it has more than {MOST_BYTES / 1e9:g} GB")
            if text := self._decoded(data):
                self._text += text
                return True
        return False

    def _decoded(self, data: bytes) -> str:
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            name = self._encoding.upper().removesuffix("-LE").removesuffix("-BE")
            self._end = f"it has bytes that are not {name}"
            return error.object[: error.start].decode(self._encoding, "surrogatepass")
        if not data:
            self._end = _END
        return text

    def _wrong(self, reason: str) -> JsonError:
        if self._at < len(self._text) and not reason.startswith(_CUT_STRING):
            return JsonError(f"at character {self._before + self._at + 1:,}: {reason}")
        return JsonError(self._end)


_END = "it ends in the middle"
_TOO_LONG = f"one item has more than {MOST_ITEM / 1e6:g} million characters"


def _integer(digits: str) -> int | float:
    """Python refuses to read integers of thousands of digits; no field of a conversation has such a value."""
    return int(digits) if len(digits) < 1000 else float(digits)
