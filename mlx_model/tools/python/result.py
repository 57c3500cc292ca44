"""What a cell wrote, kept within bounds, as the text that the model gets."""

from __future__ import annotations

import codecs
import re

MOST_CHARACTERS = 6_000
"""For the model: some 2,000 tokens of numbers and code. Seven tenths from the start, the rest from the end."""
MOST_SHOWN = 200_000
"""Characters that are handed on while a cell runs."""
MOST_BYTES = 5_000_000
"""A cell that writes more is interrupted."""

NO_OUTPUT = "[WARN] No output available. Use print() to output anything to stdout to receive the output"
"""The text of the training's reference, gpt_oss/tools/python_docker."""

_HEAD = MOST_CHARACTERS * 7 // 10
_TAIL = MOST_CHARACTERS - _HEAD
# Colours, cursor movements and titles of terminals.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n|$)")


class CellOutput:
    """Takes the bytes that a cell writes, and keeps the start and the end of their text."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._head = self._tail = ""
        self._length = 0

    @property
    def is_flood(self) -> bool:
        """Whether it has become more than a cell may write."""
        return self.nbytes > MOST_BYTES

    def add(self, data: bytes) -> str:
        """Takes bytes; returns the part of their text that may still be shown."""
        was_flood = self.is_flood
        self.nbytes += len(data)
        if was_flood:
            return ""
        text = self._decoder.decode(data)
        shown = text[: max(0, MOST_SHOWN - self._length)]
        self._length += len(text)
        room = _HEAD - len(self._head)
        self._head += text[:room]
        self._tail = (self._tail + text[room:])[-_TAIL:] if room < len(text) else self._tail
        return shown

    def text(self, most: int = MOST_CHARACTERS) -> str:
        """For the model, in `most` characters: without a terminal's escapes and overwritten lines; what was left out is
        counted."""
        most = min(most, MOST_CHARACTERS)
        head, tail = self._head, self._tail
        if self._length > most:
            # Without a gap the end may reach into what was kept as the start.
            kept = head + tail
            head, tail = kept[: most * 7 // 10], kept[len(kept) - (most - most * 7 // 10) :]
        left_out = self._length - len(head) - len(tail)
        between = f"\n[... {left_out:,} characters left out ...]\n" if left_out else ""
        text = _ESCAPE.sub("", f"{head}{between}{tail}").replace("\r\n", "\n")
        return _OVERWRITTEN.sub("", text).strip("\n")
