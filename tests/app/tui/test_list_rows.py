"""The rows of the list of conversations as text, and the marks of a search."""

import datetime

import pytest
from textual.content import Content

from app.store.search import SearchHit, words_of
from app.store.store import Summary
from app.tui.text.days import time_of
from app.tui.text.list_rows import conversation_row, found_heading, hit_row, preview_line
from app.tui.text.marks import MARK, PLAIN_MARK, first_mark, marked

NOW = datetime.datetime(2026, 11, 26, 14, 5).timestamp()
HOUR = 3600


def styled(content: Content, style: str) -> list[str]:
    """The pieces of a text that have this style."""
    return [content.plain[span.start : span.end] for span in content.spans if span.style == style]


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        *((0, "14:05"), (14, "00:05"), (15, "23:05"), (38, "00:05"), (39, "Tue"), (24 * 6, "Fri")),
        *((24 * 7, "19 Nov"), (24 * 330, "31 Dec 2025"), (-24, "14:05")),
    ],
)
def test_a_time_is_as_short_as_it_says_enough(hours: int, said: str) -> None:
    assert time_of(NOW - hours * HOUR, NOW) == said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "# Letters\n\nThere are **three** r's in `strawberry`:\n- one",
            "Letters There are three r's in strawberry: one",
        ),
        ("```python\nprint(2 * 3)\n```", "print(2 * 3)"),
        ("2*3*4 #hash __init__ -1", "2*3*4 #hash __init__ -1"),
        ("> quoted\n* starred", "quoted starred"),
        ("| letter | times |\n|---|:-:|\n| r | 3 |", "letter times r 3"),
        ("a\x1b[31m\u202eb", "a\u241b[31mb"),
        ("so it is\u30101\u2020L3\u3011, and\u30102\u2020L", "so it is, and"),
    ],
)
def test_a_preview_is_one_inert_line_without_the_most_frequent_markup(text: str, line: str) -> None:
    assert preview_line(text) == line


def test_a_conversation_has_two_lines_and_that_on_the_screen_a_bar() -> None:
    summary = Summary("id", "Title\n\x1b", NOW, NOW, 2, "**Yes**")
    assert conversation_row(summary, NOW, current=False).plain == "  Title \u241b\n  14:05  Yes"
    chosen = conversation_row(summary, NOW, current=True)
    assert chosen.plain == "\u258c Title \u241b\n\u258c 14:05  Yes"
    assert styled(chosen, "$primary") == ["\u258c "] * 2
    bare = conversation_row(Summary("id", "", NOW, NOW, 1), NOW, current=False)
    assert bare.plain == "  untitled\n  14:05"


def test_a_hit_says_whose_it_is_and_marks_the_words_as_they_are_written() -> None:
    words = words_of("GRÖSSE cafe")
    hit = SearchHit("id", "Größe", "node", NOW, "final", "Die Größe des Cafe\u0301s", "answer")
    row = hit_row(hit, words, NOW)
    assert row.plain == f"  {hit.snippet}\n  14:05  answer" and styled(row, MARK) == ["Größe", "Cafe\u0301"]
    assert styled(found_heading(hit.title, words), MARK) == ["Größe"]
    assert styled(hit_row(hit, words, NOW, colours=False), PLAIN_MARK) == ["Größe", "Cafe\u0301"]
    assert marked(row, ()) is row
    assert (first_mark("x Größe", words), first_mark("", words), first_mark("x", ())) == (2, None, None)
