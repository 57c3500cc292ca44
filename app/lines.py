"""Text in one line: untrusted names and titles, sentences and times of the program."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from mlx_model.text import clean

_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode's categories of what can't be seen."""
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters and signs that look like nothing, or like a space."""


def one_line(text: str) -> str:
    """`text` without control characters and line breaks."""
    return " ".join(clean(text).split())


def sentence(text: str) -> str:
    """`text`, as errors word it, as a sentence: with a capital letter and a full stop.

    What begins with a name that can be told from a word (notes.txt, top_p, mini.local) keeps it as it is written.
    """
    first = text.split(maxsplit=1)[0].rstrip(".,:;") if text.strip() else ""
    is_word = first.replace("'", "").replace("-", "").isalpha()
    return (f"{text[:1].upper()}{text[1:]}" if is_word else text) + ("" if text.endswith(".") else ".")


def counted(number: int, what: str) -> str:
    """A number of things: "1 part", "2 parts", "2 tries"."""
    plural = f"{what[:-1]}ies" if what.endswith("ry") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def duration(seconds: float) -> str:
    """A time to come, to the second or the minute."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def took(seconds: float) -> str:
    """A time that is over, no more exact than it is worth: "<0.1 s", "2.5 s", "48 s", "4 min 12 s"."""
    if seconds < 0.05:
        return "<0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min {whole % 60} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def speed(tokens_a_second: float) -> str:
    """How fast a model writes; from 100 tokens a second on nobody reads their tenths."""
    return f"{tokens_a_second:,.{1 if tokens_a_second < 99.95 else 0}f} tok/s"


def similar(word: str, words: Iterable[str], least: float = 0.6) -> str | None:
    """The one of `words` that is probably meant; `least` is how much they must have in common, 1 for all."""
    return next(iter(get_close_matches(word, list(words), n=1, cutoff=least)), None)


def visible(text: str) -> str:
    """A text in which nothing hides: characters that can't be seen, or reorder others, are written as escapes."""
    return "".join(f"\\u{ord(char):04x}" if _is_hidden(char) else char for char in text)


def _is_hidden(char: str) -> bool:
    return char not in "\n\t" and (unicodedata.category(char) in _HIDDEN or char in _BLANK)
