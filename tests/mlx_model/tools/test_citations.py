"""Citations become numbers of sources, whole and while the text grows; code and what is unknown stay as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.tools.citations import (
    MOST,
    MOST_LINE,
    Citations,
    CitationWriter,
    cited,
    held_back,
    plain_number,
    without_citations,
)
from mlx_model.tools.shown_pages import pages_of
from tests.fixtures.browsed import PAGE, browsed, called, display

PAGES = pages_of(browsed())
GUIDE = "https://docs.example.org/guide#top"


def numbered(text: str) -> str:
    return cited(text, PAGES, plain_number)[0]


@pytest.mark.parametrize(
    ("where", "shown", "lines"),
    [
        ("L3-L4", "L3-4", [3, 4]),
        ("L3-4", "L3-4", [3, 4]),
        ("L4-L3", "L3-4", [3, 4]),
        ("L3\u2013L4", "L3-4", [3, 4]),
        ("L3", "L3", [3]),
        ("l3", "L3", [3]),
        ("lines 3-4", "L3-4", [3, 4]),
        ("L1, L3-L4", "L1, L3-4", [1, 3, 4]),
        ("L3†docs.example.org", "L3", [3]),
        ("L4-L999999", "L4-5", [4, 5]),
        ("source", "", []),
        ("L100", "", []),  # it was not shown
    ],
)
def test_every_form_names_the_source_and_its_lines(where: str, shown: str, lines: list[int]) -> None:
    text, sources = cited(f"So it is【1†{where}】.", PAGES)
    assert text == f"So it is[1]({GUIDE})."
    [source] = sources
    assert (source.title, source.site, source.where) == ("Metal guide", "docs.example.org", shown)
    assert [number for number, _ in source.lines] == lines
    assert source.citations == (f"【1†{where}】",)


def test_sources_are_numbered_in_the_order_of_their_first_use() -> None:
    text, sources = cited("【0†L8】 【1†L3】 【2†L41】 【0†L8-L9】 【3†L1】", PAGES, plain_number)
    assert text == "[1] [2] [2] [1] [2]"
    assert [(s.number, s.title, s.where) for s in sources] == [
        (1, "Forum", "search result"),
        (2, "Metal guide", "L3, L41-42"),
    ]
    assert sources[1].lines[1] == (41, "    threadgroup float tile[64];")


def test_a_result_that_was_opened_is_the_page_and_one_that_was_not_is_a_line_with_its_site() -> None:
    text, sources = cited("【0†L4】【0†L8】", PAGES)
    assert text == f"[1]({GUIDE})[2]"
    assert [(s.url, s.site) for s in sources] == [(GUIDE, "docs.example.org"), ("", "forum.example.net")]
    assert sources[1].lines == ((None, "  * 【2†Forum†forum.example.net】 Somebody asks."),)


def test_a_citation_has_one_source() -> None:
    text, [source] = cited("【0†L8, L4】", PAGES, plain_number)
    assert (text, source.title) == ("[1]", "Forum")
    assert source.lines == ((None, "  * 【2†Forum†forum.example.net】 Somebody asks."),)


def test_the_same_number_stands_there_once() -> None:
    assert numbered("a【1†L3】【2†L40】【0†L8】【1†L3】 b【1†L3】 【1†L4】") == "a[1][2][1] b[1] [1]"


@pytest.mark.parametrize(
    "text",
    [
        "no citation 【3】, 【注意】, 【†L1】, 【1†】, 【1†L1",
        "unknown 【9†L1】",
        "two lines 【1†L1\nL2】",
        f"too long 【1†L1{'x' * MOST}】",
        "【1†a†b†c】",
        "`【1†L3】` and ``a ` 【1†L3】``",
        "`open 【1†L3】",
        "```\n【1†L3】\n```",
        "~~~ 【1†L3】\n【1†L3】\n```\n【1†L3】\n~~~~",
        "> ```\n> 【1†L3】",
        "1. ```py\n   【1†L3】",
        "    【1†L3】",
        "text\n\n\t【1†L3】\n\n\t【1†L3】",
        "text\n\n    code\n    【1†L3】",
    ],
)
def test_what_is_none_and_what_is_code_stay(text: str) -> None:
    assert cited(text, PAGES) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        "```\ncode\n```\n%",
        "~~~\n```\n~~~\n%",
        "```inline``` %",
        "`a` %",
        "``a`b`` %",
        "\\`a %",
        "a stray ` here\n%",
        "text\n    %",
        "* item\n\n    %",
        "* item\n\n  ```\n  code\n  ```\n\n    %",
        "【9†L1】 %",
        "【1†L1†%",
    ],
)
def test_text_around_code_is_text(text: str) -> None:
    assert numbered(text.replace("%", "【1†L3】")) == text.replace("%", "[1]")


PARTS = [
    "【1†L3】",
    "【0†L8】",
    "【9†L1】",
    "【",
    "】",
    "†",
    "1",
    "L4",
    "`",
    "``",
    "```",
    "~~~",
    "\n",
    "\n\n",
    "    ",
    "* ",
    "a",
    "\\",
]


@given(st.lists(st.sampled_from(PARTS), max_size=30).map("".join), st.data())
def test_a_text_that_grows_gives_the_same_at_every_split(text: str, data: st.DataObject) -> None:
    whole = numbered(text)
    size = data.draw(st.integers(1, 7))
    writer, given_so_far = CitationWriter(Citations(PAGES), plain_number), ""
    for at in range(0, len(text), size):
        given_so_far += writer.take(text[at : at + size])
        assert whole.startswith(given_so_far)
    assert given_so_far + writer.end() == whole


def test_only_a_citation_is_held_back_and_not_for_long() -> None:
    for end in ("【", "【1", "【1†", "【1†L1-L", "【1†L1†a"):
        assert held_back(f"text {end}") == len(end)
    for end in ("", "】", "【x", "【1 ", "【1†L1】", "【1†L1†a†", "【1†L1\n", f"【1†{'x' * MOST}"):
        assert held_back(f"text {end}") == 0
    assert max(held_back("【1†" + "x" * count) for count in range(2 * MOST)) < MOST
    writer = CitationWriter(Citations(PAGES), plain_number)
    assert writer.take("so【1") == "so"
    assert writer.take("†L3】!") == "[1]!"
    assert writer.take("【1†L") == ""
    assert writer.end() == "【1†L"


def test_pieces_are_what_a_layout_needs() -> None:
    citations = Citations(PAGES)
    citations.read("a【1†L3】【2†L40】 【9†L1】b`【0†L8】`")
    assert list(citations.pieces("a【1†L3】【2†L40】 【9†L1】b【0†L8】")) == [
        "a",
        (1, GUIDE),
        " ",
        "【9†L1】",
        "b",
        "【0†L8】",
    ]


def test_what_becomes_known_later_counts_from_then_on() -> None:
    citations = Citations()
    citations.read("【1†L3】")
    assert citations.sources == []
    citations.know(PAGES)
    citations.read("【1†L3】")
    assert [source.number for source in citations.sources] == [1]


def test_a_page_can_attack_neither_title_nor_link() -> None:
    title = "bank.com\x1b]0;x\x07\u202e [x](http://evil.example)"
    for url in ("javascript:alert(1)", "https://evil.example/a)[b](c"):
        page = PAGE.replace("Metal guide (https://docs.example.org/guide#top)", f"{title} ({url})", 1)
        text, [source] = cited("【1†L3】", pages_of(called("open", "{}", page)))
        assert source.title == "bank.com␛]0;x␇ [x](http://evil.example)"
        assert (text, source.site) in [
            ("[1]", ""),
            ("[1](https://evil.example/a%29%5Bb%5D%28c)", "evil.example"),
        ]


def test_lines_and_sites_are_clean_and_not_too_long() -> None:
    pages = pages_of(
        [
            *called("open", "{}", display(1, "a (https://a.example/)", 0, 9, f"\x1b\u2028{'x' * 1000}", "\ttab ")),
            *called("search", "{}", display(0, "q", 0, 9, "【0†a†a.example\x1b】")),
        ]
    )
    page, result = cited("【1†L0-L1】【0†L0】", pages)[1]
    assert page.lines == ((0, f"␛ {'x' * (MOST_LINE - 2)}"), (1, "\ttab"))
    assert result.site == "a.example␛"


def test_a_list_has_no_citations() -> None:
    assert without_citations("So it is【1†L3】【9†L1】, 【3】.") == "So it is, 【3】."
    assert without_citations("cut off 【1†L") == "cut off "


def test_ten_thousand_citations_and_a_text_that_opens_as_many_are_read_at_once() -> None:
    text, [source] = cited("".join(f"word 【1†L{number % 6}】 " for number in range(10_000)), PAGES, plain_number)
    assert text.count("[1]") == 10_000
    assert len(source.lines) == 6
    for hostile in ("【" * 100_000, "【1†" * 50_000, "`" * 100_000 + "【1†L3】", "【1†L3" * 20_000, "[1] a (" * 50_000):
        assert numbered(hostile) == hostile
        pages_of(called("open", "{}", f"[1] {hostile}\n**"))
