"""Keeps what the terminal sends from doing harm: pasted text presses no keys, and bytes that aren't UTF-8 end nothing.

In Textual 8.2.8, the latest version, `XTermParser.parse` reads an ESC inside a bracketed paste as the beginning of a
key's sequence. A sequence it doesn't know becomes single keys, Enter among them: text copied from a web page could send
itself, or run any command of the chat. So every ESC of a paste is replaced by a visible sign before the parser sees it.

A paste ends at its end mark. An end mark inside the pasted text looks the same; most terminals remove it themselves.

Its driver reads the keys in a thread that ends, with the chat, at the first byte that isn't UTF-8, as a terminal set to
Latin-1 sends it. The replacement character stands for such a byte.

It takes a key that comes within 100 ms of Esc for Alt and that key, so what is typed right after Esc did something
else, or nothing. Terminals send a key's sequence at once: here Esc is Esc after ESCAPE_S, or $ESCDELAY milliseconds.
"""

import os
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

from mlx_model.text import clean

ESCAPE_S = 0.03
"""As in fish: nobody types faster, and few connections are so slow that a sequence comes in two."""
ESC, START, END = "\x1b", "\x1b[200~", "\x1b[201~"


class PasteFilter:
    """Passes on what the terminal sends, in pieces of any size, without the ESC characters inside a paste."""

    def __init__(self) -> None:
        self._pasting = False
        self._tail = ""
        """Outside a paste: the last characters given back, which may begin a start mark. In a paste: what may begin an
        end mark, held until that is known."""

    def feed(self, data: str) -> str:
        """What to pass on now; "" if it is all held."""
        out: list[str] = []
        while data:
            data = self._pasted(data, out) if self._pasting else self._typed(data, out)
        return "".join(out)

    def _typed(self, data: str, out: list[str]) -> str:
        """Pass on keys up to and including a start mark; returns the rest. Holds nothing: an ESC may be the key."""
        before = len(self._tail)
        seen = self._tail + data
        at = seen.find(START)
        self._pasting = at >= 0
        end = at + len(START) if self._pasting else len(seen)
        out.append(seen[before:end])
        self._tail = "" if self._pasting else seen[-len(START) + 1 :]
        return seen[end:]

    def _pasted(self, data: str, out: list[str]) -> str:
        """Pass on pasted text up to and including an end mark; returns the rest."""
        seen = self._tail + data
        text, mark, left = seen.partition(END)
        self._pasting = not mark
        self._tail = "" if mark else next((END[:n] for n in range(len(END) - 1, 0, -1) if text.endswith(END[:n])), "")
        text = text.removesuffix(self._tail)
        out += [text.replace(ESC, clean(ESC)), mark]
        return left


class GuardedParser(XTermParser):
    """Textual's parser behind a PasteFilter."""

    def __init__(self, debug: bool = False) -> None:
        self._filter = PasteFilter()
        self._escape_ends = 0.0
        """When the Esc that came last is no beginning of a sequence any more; 0 where there is none."""
        self._escape_s = constants.ESCAPE_DELAY if "ESCDELAY" in os.environ else ESCAPE_S
        super().__init__(debug)

    def feed(self, data: str) -> Iterable[Message]:
        """See Parser.feed, to which "" means the end of all input."""
        if self._escape_ends and monotonic() >= self._escape_ends and self._timeout_time is not None:
            self._timeout_time = 0.0  # the driver looks whether the time is over only once nothing has come for longer
            yield from self.tick()
        passed = self._filter.feed(data)
        self._escape_ends = monotonic() + self._escape_s if passed.endswith(ESC) else 0.0
        if passed or not data:
            yield from super().feed(passed)


def tolerant_decoder(encoding: str) -> Callable[[], IncrementalDecoder]:
    """As `getincrementaldecoder`, of what fails at no byte."""
    return partial(getincrementaldecoder(encoding), errors="replace")


def install() -> None:
    """Have the terminal's driver use the guarded parser and a decoder that goes on."""
    linux_driver.XTermParser = GuardedParser  # type: ignore[attr-defined]  # imported there, not exported
    linux_driver.getincrementaldecoder = tolerant_decoder  # type: ignore[attr-defined, assignment]
