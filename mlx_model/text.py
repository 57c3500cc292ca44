"""Makes untrusted text safe for a terminal: it can't move the cursor, change colours or reorder letters."""

import re

_TAGS = range(0xE0000, 0xE0080)  # invisible copies of ASCII
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_TABLE: dict[int, str | None] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},  # ESC shows as ␛
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),  # C1: one-byte CSI and OSC
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),  # lone surrogates can't be encoded
    **dict.fromkeys((*_BIDI, *_TAGS, 0xFEFF, ord("\r"))),
    **dict.fromkeys((0x2028, 0x2029, ord("\n")), "\n"),
}
_TABLE[ord("\t")] = "\t"
_TABLE[0x7F] = "\u2421"


def clean(text: str) -> str:
    """`text` without control, bidirectional and invisible tag characters; newline and tab stay.

    Controls become visible signs, so that an attempt shows; carriage returns, which only overwrite, and
    reordering characters, which hide what a command does, are dropped: letters then stand in the order a
    computer reads them. Zero-width joiners stay, emoji and several scripts need them. Works on pieces of
    a text as on the whole.
    """
    return text if text.isascii() and text.isprintable() else text.translate(_TABLE)


def fenced(text: str, label: str = "") -> str:
    """`text` in a Markdown code block, between fences that are longer than any run of backticks in it, so that nothing
    in it can end it; `label` is the language, if any."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{label}\n{text}\n{fence}"
