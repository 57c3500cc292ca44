"""What computers that share a model say to each other: a JSON object, and behind it rows of numbers, if there are any.

A frame is 12 bytes (a mark, the bytes of the object, those of the rows), the object, the rows. Both sides check what
they read as if anyone had written it: lengths before memory is taken, every field before it is used.
"""

import json
import os
import select
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from metal.files import parse_json
from mlx_model.errors import GptossError

PROTOCOL = 1
"""Raised with every change of what a frame means."""

GREETING = b"\x89gptoss-stage\r\n"
"""What a stage writes first: a shell may have written something before it."""

MOST_ROWS = 1 << 28
"""Bytes of rows in a frame: 2,048 tokens of gpt-oss-120b in float32 are 24 MB."""

_MARK = b"gpt1"
_PREFIX = struct.Struct("<4sII")
_MOST_OBJECT = 1 << 20
_MOST_BEFORE_GREETING = 1 << 16
_READ = 1 << 20
_MOST_NUMBER = 1 << 53


class FrameError(GptossError):
    """What came is no frame, or not one that may come."""


class Silence(GptossError):
    """Nothing came, or nothing was taken, in the time that was given."""


class Ended(GptossError):
    """The other side has closed the pipe."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A `kind`, its fields, and the bytes of rows."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    rows: bytes | memoryview = b""

    def number(self, name: str, most: int = _MOST_NUMBER, least: int = 0) -> int:
        """A field that is a whole number. Raises FrameError."""
        value = self.fields.get(name)
        if type(value) is not int or not least <= value <= most:
            raise FrameError(f"{name} of {self.kind} is {str(value)[:40]!r}, not a number from {least} to {most}")
        return value

    def numbers(self, name: str, most_of_them: int, most: int = _MOST_NUMBER) -> list[int]:
        """A field that is a list of whole numbers. Raises FrameError."""
        values = self.fields.get(name)
        if not isinstance(values, list) or len(values) > most_of_them:
            raise FrameError(f"{name} of {self.kind} is no list of at most {most_of_them}")
        if any(type(value) is not int or not 0 <= value <= most for value in values):
            raise FrameError(f"{name} of {self.kind} has what is no number up to {most}")
        return values

    def seconds(self, name: str) -> float:
        """A field that is a time. Raises FrameError."""
        value = self.fields.get(name)
        if not isinstance(value, int | float) or not 0 <= value < _MOST_NUMBER:  # nor is NaN
            raise FrameError(f"{name} of {self.kind} is {str(value)[:40]!r}, not a time")
        return float(value)

    def text(self, name: str, longest: int = 1000) -> str:
        """A field that is text. Raises FrameError."""
        value = self.fields.get(name)
        if not isinstance(value, str) or len(value) > longest:
            raise FrameError(f"{name} of {self.kind} is no text of at most {longest} characters")
        return value


class Channel:
    """Frames over two descriptors, which it makes non-blocking. One thread may send while another receives."""

    def __init__(self, inbox: int, outbox: int) -> None:
        self._in, self._out = inbox, outbox
        os.set_blocking(inbox, False)
        os.set_blocking(outbox, False)
        self._readable = select.poll()
        self._readable.register(inbox, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(outbox, select.POLLOUT)

    def greet(self) -> None:
        """Writes the greeting. Raises as `send`."""
        self._write([GREETING], None)

    def await_greeting(self, patience_s: float) -> None:
        """Reads up to the greeting. Raises FrameError if something else goes on and on, Silence and Ended."""
        seen, deadline = b"", monotonic() + patience_s
        while not seen.endswith(GREETING):
            seen += self._read(1, deadline)
            if len(seen) > _MOST_BEFORE_GREETING:
                raise FrameError("it writes something else than a stage would")

    def send(self, frame: Frame, patience_s: float | None = None) -> None:
        """Raises Silence if it isn't taken in time, None: waits without end; Ended."""
        text = json.dumps({"kind": frame.kind, **frame.fields}, separators=(",", ":")).encode()
        parts = [_PREFIX.pack(_MARK, len(text), len(frame.rows)) + text, frame.rows]
        self._write([part for part in parts if part], None if patience_s is None else monotonic() + patience_s)

    def receive(self, patience_s: float | None = None, most_rows: int = 0) -> Frame:
        """The next frame. Raises FrameError for what is none or has more bytes of rows, Silence, Ended."""
        deadline = None if patience_s is None else monotonic() + patience_s
        mark, length, row_bytes = _PREFIX.unpack(self._read(_PREFIX.size, deadline))
        if mark != _MARK or length > _MOST_OBJECT or row_bytes > most_rows:
            raise FrameError(f"what came is no frame that may come here ({length} and {row_bytes} bytes)")
        try:
            fields = parse_json(bytes(self._read(length, deadline)))
        except ValueError as error:
            raise FrameError(f"what came is no JSON ({error})") from None
        if not isinstance(fields, dict) or not isinstance(kind := fields.pop("kind", None), str):
            raise FrameError("what came is no JSON object with a kind")
        return Frame(kind, fields, self._read(row_bytes, deadline) if row_bytes else b"")

    def _read(self, count: int, deadline: float | None) -> memoryview:
        buffer = bytearray(count)
        view, done = memoryview(buffer), 0
        while done < count:
            try:
                got = os.readv(self._in, [view[done : done + _READ]])
            except BlockingIOError:
                _wait(self._readable, deadline)
                continue
            except OSError:
                got = 0
            if not got:
                raise Ended("it has ended")
            done += got
        return view

    def _write(self, parts: list[bytes | memoryview], deadline: float | None) -> None:
        views = [memoryview(part) for part in parts]
        while views:
            try:
                done = os.writev(self._out, views)
            except BlockingIOError:
                _wait(self._writable, deadline)
                continue
            except OSError:
                raise Ended("it has ended") from None
            while views and done >= len(views[0]):
                done -= len(views.pop(0))
            if done:
                views[0] = views[0][done:]


def _wait(poll: select.poll, deadline: float | None) -> None:
    left = None if deadline is None else deadline - monotonic()
    if left is not None and left <= 0:
        raise Silence("it does not answer")
    poll.poll(None if left is None else 1000 * left)
