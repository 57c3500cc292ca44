"""The list of sources below an answer, as lines for any width."""

import pytest
from textual.style import Style

from app.tui.text.source_lines import ALL, AT_FIRST, MOST_LINES, SOURCE, source_lines
from mlx_model.tools.citations import Source

GUIDE = Source(
    *(1, "Metal guide", "https://docs.example.org/guide", "docs.example.org", "L3, L12"),
    ((3, "A kernel runs once per thread."), (12, "    tile[64];")),
    ("【1†L3】",),
)
FORUM = Source(2, "Forum", "", "forum.example.net", "search result", ((None, "* 【2†Forum】 Somebody asks."),), ())


def many(count: int) -> list[Source]:
    """So many sources without lines."""
    return [Source(number, f"Page {number}", "", "", "", (), ()) for number in range(1, count + 1)]


def plain(*opened: int, width: int = 76) -> list[str]:
    return [line.content.plain for line in source_lines([GUIDE, FORUM], opened, width)]


def test_each_source_has_a_line_beside_the_heading() -> None:
    assert plain() == [
        "Sources  1 docs.example.org   Metal guide  L3, L12",
        "         2 forum.example.net  Forum        search result",
    ]


def test_what_is_open_shows_its_address_and_its_lines() -> None:
    assert plain(1, 2) == [
        "Sources  1 docs.example.org   Metal guide  L3, L12",
        "           https://docs.example.org/guide",
        "           L3   A kernel runs once per thread.",
        "           L12      tile[64];",
        "         2 forum.example.net  Forum        search result",
        "           * 【2†Forum】 Somebody asks.",
    ]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (63, "1 docs.example.org   Metal guide  L3, L12"),
        (62, "1 docs.example.org   Metal guide  L3, L12"),
        (48, "1 docs.example.org   Metal guide  L3, L12"),
        (47, "1 docs.example.org   L3, L12"),
        (34, "1 docs.example.org   L3, L12"),
        (32, "1 docs.example.org"),
        (10, "1 docs.ex…"),
    ],
)
def test_a_narrow_line_leaves_out_what_matters_least(width: int, line: str) -> None:
    lines = plain(width=width)
    assert lines[0] == f"Sources  {line}" if width == 63 else lines[:2] == ["Sources", line]


@pytest.mark.parametrize("width", [1, 2, 7, 20, 62, 63, 200])
def test_no_line_is_too_wide_at_any_width(width: int) -> None:
    lines = source_lines([GUIDE, FORUM, *many(12)[2:]], range(20), width, all_of_them=True)
    assert max(line.content.cell_length for line in lines) <= width


def test_many_are_listed_when_they_are_wanted() -> None:
    lines = source_lines(many(AT_FIRST + 2), (), 76)
    assert [line.content.plain.strip() for line in lines][-2:] == ["6 Page 6", "and 2 more"]
    assert len(source_lines(many(AT_FIRST + 1), (), 76)) == AT_FIRST + 1
    assert len(source_lines(many(AT_FIRST + 2), (), 76, all_of_them=True)) == AT_FIRST + 2


def test_numbers_are_aligned_and_a_click_finds_its_source() -> None:
    lines = source_lines([*many(11)], (2,), 76, all_of_them=True)
    assert [line.content.plain[9:12] for line in lines[:2]] == [" 1 ", " 2 "]
    assert lines[-1].content.plain[9:12] == "11 "
    assert [line.number for line in lines[:4]] == [1, 2, 2, 3]
    [meta] = [s.style.meta for s in lines[0].content.spans if isinstance(s.style, Style) and s.style.meta]
    assert meta == {SOURCE: 1}
    more = source_lines(many(AT_FIRST + 2), (), 76)[-1].content
    assert {SOURCE: ALL} in [s.style.meta for s in more.spans if isinstance(s.style, Style)]


def test_only_a_known_address_is_a_link() -> None:
    links = [
        (line.content.plain[span.start : span.end], span.style.link)
        for line in source_lines([GUIDE, FORUM], (1,), 76)
        for span in line.content.spans
        if isinstance(span.style, Style) and span.style.link
    ]
    assert links == [(GUIDE.site, GUIDE.url), (GUIDE.url, GUIDE.url)]


def test_what_was_not_seen_and_what_is_too_much_is_said() -> None:
    nothing = source_lines(many(1), (1,), 100)
    assert nothing[1].content.plain.strip() == "The model has seen none of the lines it cites, or it cites none."
    long = Source(1, "a", "", "", "", tuple((number, "x") for number in range(MOST_LINES + 5)), ())
    lines = source_lines([long], (1,), 76)
    assert len(lines) == 1 + MOST_LINES + 1
    assert lines[-1].content.plain.strip() == "and 5 more lines"
