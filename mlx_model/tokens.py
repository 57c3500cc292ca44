"""Estimates how many tokens a text has, for a process that loads neither the model nor its vocabulary."""

import re

SAMPLE = 100_000
"""Characters that are looked at, which takes some 50 ms."""

# A text, which `re` compiles at its first use: that takes longer than to import all else here.
_PIECE = r"(?a:[A-Z]?[a-z]+|[A-Z]+|\d{1,3}|\n\s*|[ \t]{2,}|[^\w\s\x80-\U0010ffff]+|_+|[^\x00-\x7f]+)"


def about_tokens(text: str) -> int:
    """The number of tokens of `text` in gpt-oss's vocabulary (o200k), to two digits.

    The weights are a least-squares fit over 185 files of prose, code, tables and JSON to what bpe-openai counts: nine
    in ten came within 10%. Of scripts other than Latin only the order of magnitude is right. Of a long text the
    beginning stands for the whole.
    """
    total = 0.0
    beginning = text[:SAMPLE]
    for piece in re.findall(_PIECE, beginning):
        first = piece[0]
        if first > "\x7f":
            total += sum(map(_weight, piece))
        elif first.isalpha():
            total += 0.88 + 0.23 * max(0, len(piece) - 6)
        elif first.isdigit() or first.isspace():
            total += 1.2
        else:
            total += 0.84 + 0.42 * max(0, len(piece) - 2)
    count = max(1, round(total * len(text) / max(1, len(beginning))))
    return round(count, 2 - len(str(count)))


def _weight(character: str) -> float:
    if character >= "\U0001f000":  # emoji
        return 1.0
    return 0.65 if "\u2e80" <= character < "\ua000" or "\uac00" <= character < "\ud7b0" else 0.3
