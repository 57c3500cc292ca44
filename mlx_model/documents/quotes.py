"""Whether a quote stands in a text, and where: word for word, however its lines were broken and its letters printed.

Two texts are the same here if they have the same words, numbers and signs of arithmetic. Case, accents, ligatures,
quotation marks, punctuation, marks of Markdown and where words were hyphenated make no difference.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

_LETTER = r"(?:(?![\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u2e80-\ud7af\uf900-\ufaff])[^\W\d_]|[\u0300-\u036f])"
_HYPHEN = r"(?:[-\u00ad\u2010\u2011\x02\ufffe](?:[ \t]*\n\s*)?)"
_TOKEN = re.compile(
    rf"{_LETTER}+(?:{_HYPHEN}{_LETTER}+)*"
    r"|(?:(?<![\w.,])[-\u2212\u2013])?\d+(?:[.,]\d+)*"
    r"|[^\W_]"  # scripts without spaces, and raised numbers: each for itself
    r"|[%\u2030$\u20ac\u00a3\u00a5\u00b1\u2264\u2265\u2260\u221e]|(?:(?<=\S)|(?<=\S ))[<>=]"
)
_HYPHENS = re.compile(r"[-\u00ad\u2010\u2011\x02\ufffe\s]")
_MINUS = str.maketrans("\u2212\u2013", "--")
_GAP = re.compile(r"[\[(]?(?:\.{3,}|\u2026)[\])]?")


class Place(NamedTuple):
    """Where something stands: from a character of a text up to one of the same text, or of the next. `text` and
    `last_text` are indices of the texts; `end` is the first character behind it."""

    text: int
    start: int
    last_text: int
    end: int


class QuoteIndex:
    """Finds quotes in several texts, as the pages of a document. Each text is taken apart once, when it is needed."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._parts = lru_cache(maxsize=None)(self._part)

    def find(self, quote: str, near: int = 0) -> Place | None:
        """The place of `quote` that comes first from the text `near` on, and behind the last one from the beginning;
        None where it isn't there, or has no words. An ellipsis in it stands for anything on the same text or the next.
        """
        if (whole := self._first(folded(quote), near)) is not None:
            return whole
        pieces = [piece for each in _GAP.split(quote) if (piece := folded(each))]
        if len(pieces) < 2:
            return None
        for start in self._order(near):
            if (place := self._in_order(pieces, start)) is not None:
                return place
        return None

    def _first(self, words: str, near: int) -> Place | None:
        if not words:
            return None
        return next(filter(None, (self._at(words, index) for index in self._order(near))), None)

    def _in_order(self, pieces: Sequence[str], index: int) -> Place | None:
        """The pieces one after the other, the first of them on that text."""
        if (first := self._at(pieces[0], index)) is None:
            return None
        last = first
        for piece in pieces[1:]:
            found = self._at(piece, last.last_text, last.end)
            if found is None and last.last_text == index and index + 1 < len(self._texts):
                found = self._at(piece, index + 1)
            if found is None:
                return None
            last = found
        return Place(first.text, first.start, last.last_text, last.end)

    def _order(self, near: int) -> Iterator[int]:
        yield from range(max(0, near), len(self._texts))
        yield from range(min(max(0, near), len(self._texts)))

    def _at(self, words: str, index: int, behind: int = 0) -> Place | None:
        """The place of folded words that begins on that text, at or behind that character; it may end on the next."""
        own = self._parts(index)
        following = self._parts(index + 1) if index + 1 < len(self._texts) else _Parts()
        text = f" {own.words} {following.words} "
        first = bisect_left(own.starts, behind)
        at = text.find(f" {words} ", own.places[first] if first < len(own.places) else len(text))
        if at < 0 or at > len(own.words):
            return None
        first = bisect_left(own.places, at)
        last = first + words.count(" ")
        if last < len(own.ends):
            return Place(index, own.starts[first], index, own.ends[last])
        return Place(index, own.starts[first], index + 1, following.ends[last - len(own.ends)])

    def _part(self, index: int) -> "_Parts":
        parts, words, place = _Parts(), [], 0
        for match in _TOKEN.finditer(self._texts[index]):
            words.append(_folded(match[0]))
            parts.starts.append(match.start())
            parts.ends.append(match.end())
            parts.places.append(place)
            place += len(words[-1]) + 1
        parts.words = " ".join(words)
        return parts


@dataclass(slots=True)
class _Parts:
    """A text in folded words with one space between them; of each where it begins and ends in the text, and where it
    stands in the words."""

    words: str = ""
    starts: "array[int]" = field(default_factory=lambda: array("I"))
    ends: "array[int]" = field(default_factory=lambda: array("I"))
    places: "array[int]" = field(default_factory=lambda: array("I"))


def folded(text: str) -> str:
    """The words of a text as they are compared, with one space between them: equal for texts that are the same here."""
    return " ".join(_folded(match[0]) for match in _TOKEN.finditer(text))


def lines_of(text: str, start: int, end: int) -> tuple[int, int]:
    """The first and the last line, counted from 1, of what stands from `start` up to `end`."""
    first = text.count("\n", 0, start) + 1
    return first, first + text.count("\n", start, max(start, end))


def _folded(token: str) -> str:
    """A token without hyphens within, accents and case; a number keeps its sign."""
    if token.isascii() and token.isalnum():
        return token.lower()
    if token[-1].isdigit():
        return token.translate(_MINUS) if token.isascii() or token[0] in "\u2212\u2013" else _plain(token)
    return _plain(_HYPHENS.sub("", token))


@lru_cache(maxsize=4096)
def _plain(token: str) -> str:
    decomposed = unicodedata.normalize("NFKD", token.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))
