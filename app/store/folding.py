"""Text as the search compares it: without case, accents and the ways in which Unicode composes the same letters."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

# Letters that have no decomposition, though people without their keyboard type another; signs that programs and models
# set in place of what keys have.
_INSTEAD = {
    **dict(zip("\u0131đðøłħŧ", "iddolht", strict=True)),
    **dict(zip("æœþ", ("ae", "oe", "th"), strict=True)),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
    # Letters of their own, which only look like another with an accent.
    **(_LETTERS := {"и\u0306": "й", "\u0443\u0306": "\u045e", "\u0456\u0308": "\u0457"}),
}
# What marks add to a letter of these scripts may be left out in writing; elsewhere (kana, Devanagari, Thai) a mark
# makes another letter. Then what can't be seen: hyphenation, joiners, directions, the styles of an emoji.
_LEFT_OUT = (
    "\u0300-\u0333\u0339-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\ufe20-\ufe2f"  # Latin, Greek; strokes say "not"
    "\u0483-\u0489"  # Cyrillic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # Hebrew: the points
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"  # Arabic: vowels
    "\u20d7\u20e3"  # vectors, keycaps
    "\u00ad\u061c\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
)
_ODD = re.compile(f"[{''.join(key for key in _INSTEAD if len(key) == 1)}{_LEFT_OUT}]|{'|'.join(_LETTERS)}")
_PIECES = re.compile(r"[^\n ]*[\n ]*")
"""A space begins anew: what stands before it changes nothing of what comes after."""


def fold(text: str) -> str:
    """`text` for comparing. Unicode's case folding and compatibility decomposition ("ß" is "ss", "ﬁ" is "fi"), then
    without accents, composed again where letters are left that have parts (Hangul, kana)."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", _ODD.sub(lambda match: _INSTEAD.get(match[0], ""), decomposed))


def spans(text: str, words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where `text` has one of the `words`, which are folded: start and end in `text` as it is, from left to right."""
    either = re.compile("|".join(map(re.escape, sorted(filter(None, words), key=len, reverse=True))))
    if not either.pattern:
        return
    original = _Original(text)
    for match in either.finditer(original.folded):
        yield original.span(*match.span())


class _Original:
    """Finds the way back from a folded text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.folded = fold(text)
        self._same = text.isascii()
        self._starts: list[int] = []  # of the pieces of the text, and where they stand in the folded one
        self._folded_starts: list[int] = []

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Of the folded text's characters from `start` to `end`: those of the text that they came from, whole."""
        if self._same:
            return start, end
        if not self._starts:
            self._index()
        first, last = self._at(start), self._at(end - 1)
        return self._character(start, *first)[0], self._character(end - 1, *last)[1]

    def _index(self) -> None:
        at = 0
        for match in _PIECES.finditer(self._text):
            self._starts.append(match.start())
            self._folded_starts.append(at)
            at += len(fold(match[0]))

    def _at(self, position: int) -> tuple[int, int]:
        """Where the piece begins that has this character: in the text, in the folded one."""
        piece = bisect_right(self._folded_starts, position) - 1
        return self._starts[piece], self._folded_starts[piece]

    def _character(self, position: int, start: int, folded_start: int) -> tuple[int, int]:
        """From where to where the text's character goes, with all its marks, that gave this one of the folded text."""

        def size(end: int) -> int:
            return len(fold(self._text[start:end]))

        piece = _PIECES.match(self._text, start)
        ends = range(start, piece.end() + 1 if piece else start)
        end = ends[bisect_left(ends, position - folded_start + 1, key=size)]
        after = ends[bisect_right(ends, size(end), key=size) - 1]
        return end - 1, after
