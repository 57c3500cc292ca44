"""Quotes are found however a text was broken and printed, and only there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_model.documents.quotes import Place, QuoteIndex, folded, lines_of

FIRST = "We found that expres-\nsions of the \ufb01rst kind\nare \u201cwell-known\u201d "
FIRST += "at p < 0.05 and \u22125.2\u00a0\u00b0C."
SECOND = "# The next page\n\n| r\u00e9sum\u00e9 | x\u00b2 |\n**bold** \u6f22\n\u5b57 at the end"
INDEX = QuoteIndex([FIRST, SECOND])


@pytest.mark.parametrize(
    ("quote", "words"),
    [
        ("expressions of the first kind", "expres-\nsions of the \ufb01rst kind"),
        ("We  FOUND\tthat", "We found that"),
        ("\u00abwellknown\u00bb", "well-known"),
        ('"well\u2011known" at', "well-known\u201d at"),
        ("p<0.05, and -5.2 \u00b0C!", "p < 0.05 and \u22125.2\u00a0\u00b0C"),
        ("re\u0301sume\u0301 x2", "r\u00e9sum\u00e9 | x\u00b2"),
        ("The next page resume", "The next page\n\n| r\u00e9sum\u00e9"),
        ("bold \u6f22\u5b57", "bold** \u6f22\n\u5b57"),
        ("We found ... first kind", FIRST[: FIRST.index("kind") + 4]),
        ("We found [\u2026] are well-known", FIRST[: FIRST.index("known") + 5]),
    ],
)
def test_a_quote_is_found(quote: str, words: str) -> None:
    place = INDEX.find(quote)
    assert place is not None
    text = (FIRST, SECOND)[place.text]
    assert (place.text, text[place.start : place.end]) == (place.last_text, words)


@pytest.mark.parametrize(
    "quote",
    [
        "p > 0.05",  # the sign turned
        "5.2",  # without its sign
        "p < 0.0",
        "expres",  # half a word
        "kind first",
        "first kind ... We found",  # in another order
        "bold ... We found",
        "We found ... nowhere",
        "",
        "...",
        "!?",
    ],
)
def test_what_is_not_there_is_not_found(quote: str) -> None:
    assert INDEX.find(quote) is None


def test_a_quote_goes_on_on_the_next_text() -> None:
    whole = INDEX.find("at p < 0.05 and -5.2 \u00b0C The next page")
    assert whole == Place(0, FIRST.index("at p"), 1, SECOND.index("page") + 4)
    assert INDEX.find("first kind ... the next page") == Place(0, FIRST.index("\ufb01rst"), 1, SECOND.index("page") + 4)


def test_the_nearest_text_comes_first() -> None:
    index = QuoteIndex(["one two", "three", "one two"])
    places = [index.find("one two", near) for near in (0, 1, 2, 9)]
    assert [place and place.text for place in places] == [0, 2, 2, 0]
    assert index.find("one ... one") is None
    assert QuoteIndex(["a b a c"]).find("a ... a c") == Place(0, 0, 0, 7)


def test_lines() -> None:
    place = INDEX.find("sions ... kind are") or INDEX.find("first kind are")
    assert place is not None
    assert lines_of(FIRST, place.start, place.end) == (2, 3)
    assert lines_of("a\nb", 0, 1) == (1, 1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.from_regex("[a-z]{1,5}|[0-9]{1,3}", fullmatch=True), st.sampled_from([" ", "\n", ", ", "** ", '" '])
        ),
        min_size=1,
    ),
    st.data(),
)
def test_words_of_a_text_are_found_however_it_is_broken(printed: list[tuple[str, str]], data: st.DataObject) -> None:
    words = [word for word, _ in printed]
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    text = "".join(word + gap for word, gap in printed)
    place = QuoteIndex([text]).find(" ".join(words[start:end]))
    assert place is not None
    assert folded(text[place.start : place.end]).split() == words[start:end]


@settings(max_examples=40, deadline=None)
@given(st.text())
def test_any_text_is_found_in_itself(text: str) -> None:
    assert (QuoteIndex([text]).find(text) is None) == (not folded(text))
