"""Untrusted text: nothing a terminal would obey is left, and ordinary text of any script stays as it is."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.text import clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, with\ttab\nand line", "plain, with\ttab\nand line"),
        ("\x1b[31mred\x1b[0m", "\u241b[31mred\u241b[0m"),
        ("\x1b]52;c;ZXZpbA==\x07", "\u241b]52;c;ZXZpbA==\u2407"),
        ("\x9b2J", "\ufffd2J"),
        ("safe\rrm -rf /", "saferm -rf /"),
        ("a\r\nb", "a\nb"),
        ("\u202egnp.exe\u2066", "gnp.exe"),
        ("\U000e0068\U000e0069", ""),
        ("\x00\x08\x7f", "\u2400\u2408\u2421"),
        ("\ud83d", "\ufffd"),
        ("\u2028", "\n"),
    ],
)
def test_dangerous_characters(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "naïve €",
        "日本語",
        "한국어",
        "\u0641\u0627\u0631\u0633\u06cc\u200c",
        "👩\u200d👧",
        "e\u0301",
        "[b]x[/b]",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert clean(text) == text


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_survives_and_pieces_equal_the_whole(text: str) -> None:
    cleaned = clean(text)
    assert not {c for c in cleaned if unicodedata.category(c) in ("Cc", "Cs")} - {"\n", "\t"}
    reordering = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    assert not {c for c in cleaned if unicodedata.bidirectional(c) in reordering}
    assert "".join(map(clean, text)) == cleaned == clean(cleaned)
    cleaned.encode()
