"""What the search takes for the same text, and the way back from the folded text to what was written."""

# ruff: noqa: RUF001  # letters that look like others are what is tested

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.folding import fold, spans

SAME = [
    ("Café", "cafe"),
    ("GRÖSSE", "größe"),
    ("tiếng Việt", "tieng viet"),
    ("Đường", "duong"),
    ("İstanbul", "istanbul"),
    ("ISPARTA IŞIK", "ısparta ışık"),
    ("ΟΔΟΣ", "οδός"),
    ("Ёлка", "елка"),
    ("Œuvre, Þing", "oeuvre, thing"),
    ("МОЙ", "мой"),
    ("ЇЖАК", "їжак"),
    ("ВОЎК", "воўк"),
    ("Łódź, søren, Ærø", "lodz, soren, aero"),
    ("ﬁle ＡＢＣ １２", "file abc 12"),
    ("ｶﾞｲﾄﾞ", "ガイド"),
    ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    ("❤️", "❤"),
    ("1️⃣", "1"),
    ("👩\u200d👩\u200d👧", "👩👩👧"),
    ("don’t “well\u2011known”\u202f–", 'don\'t "well-known" -'),
    ("soft\u00adhyphen", "softhyphen"),
    ("שָׁלוֹם", "שלום"),
    ("العَرَبِيَّة", "العربية"),
    ("STRASSE", "straße"),
]
DIFFERENT = [
    ("мой", "мои"),
    ("її", "іі"),
    ("воўк", "воук"),
    ("か", "が"),
    ("हिन्दी", "हनद"),
    ("ไม่", "ไม"),
    ("하", "한"),
    ("日本", "日木"),
    ("1️⃣", "2️⃣"),
    ("a ≠ b", "a = b"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_case_accents_and_composition_make_no_difference(one: str, other: str, form: Literal["NFC", "NFD"]) -> None:
    assert fold(unicodedata.normalize(form, one)) == fold(unicodedata.normalize(form, other)) == fold(one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_letters_of_their_own_stay_different(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text())
def test_a_folded_text_is_folded_whatever_its_form_was(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text)) == fold(text)


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("An ASCII text", ["text", "an"], ["An", "text"]),
        ("große Häuser", ["gross"], ["groß"]),
        ("nói tiếng\nViệt.", ["tieng", "viet"], ["tiếng", "Việt"]),
        ("가한글나", ["글"], ["글"]),
        ("a ﬁle", ["fi"], ["ﬁ"]),
        ("a ﬁle", ["il"], ["ﬁl"]),
        ("so\u200bft soft", ["soft"], ["so\u200bft", "soft"]),
        ("é", ["e"], ["é"]),
        ("nothing", ["x", ""], []),
        ("nothing", [], []),
        ("über " * 200 + "Grüße", ["grusse"], ["Grüße"]),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_spans_are_those_of_the_text_as_it_was_written(
    text: str, words: list[str], found: list[str], form: Literal["NFC", "NFD"]
) -> None:
    written = unicodedata.normalize(form, text)
    assert [written[start:end] for start, end in spans(written, words)] == [
        unicodedata.normalize(form, piece) for piece in found
    ]


@given(
    st.text(st.sampled_from("aAeéE\u0301\u0308ßﬁ \n한\u1112\u1161\u11abがか\u3099и\u0306\u200b😀")),
    st.text("aeshi한か"),
)
def test_every_span_holds_its_word_and_no_more_than_whole_letters(text: str, word: str) -> None:
    for start, end in spans(text, [word]):
        assert word and word in fold(text[start:end])
        assert end == len(text) or fold(text[: end + 1]) != fold(text[:end])  # its marks are with it
        assert len(fold(text[start:end])) <= len(word) + 2  # ss and fi are whole
