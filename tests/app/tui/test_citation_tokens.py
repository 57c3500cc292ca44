"""Citations in a Markdown layout: a number that links and can be clicked, wherever text can stand."""

import pytest
from textual.content import Content
from textual.style import Style

from app.tui.text.looks import SECONDARY
from app.tui.text.markdown_layout import GrowingLayout
from mlx_model.tools.citations import Citations
from mlx_model.tools.shown_pages import pages_of
from tests.fixtures.browsed import browsed
from tests.fixtures.laid_out import joined, lay_out

GUIDE = "https://docs.example.org/guide#top"


def laid_out(source: str, width: int = 60) -> Content:
    citations = Citations(pages_of(browsed()))
    citations.read(source)
    return lay_out(source, width, citations)


def styles(content: Content, text: str) -> list[Style | str]:
    """The styles of all that says this."""
    return [span.style for span in content.spans if content.plain[span.start : span.end] == text]


def test_a_number_links_to_its_page_and_is_an_action_that_holds_nothing_else() -> None:
    shown = laid_out("So it is【1†L3】, they ask【0†L8】, who knows【9†L1】.")
    assert shown.plain == "So it is[1], they ask[2], who knows【9†L1】."
    [guide], [forum] = styles(shown, "[1]"), styles(shown, "[2]")
    assert isinstance(guide, Style) and (guide.link, guide.meta) == (GUIDE, {"@click": "show_source(1)"})
    assert isinstance(forum, Style) and (forum.link, forum.meta) == (None, {"@click": "show_source(2)"})
    assert styles(shown, "【9†L1】") == [SECONDARY]


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("# Title【1†L3】", "Title[1]"),
        ("**bold【1†L3】** *so【2†L40】*", "bold[1] so[1]"),
        ("| a | b |\n|---|---|\n| x【1†L3】 | y |", "a    │ b\n─────┼──\nx[1] │ y"),
        ("> quoted【1†L3】", "│ quoted[1]"),
        ("- one【1†L3】【1†L4】\n- two【0†L8】【1†L4】", " • one[1]\n • two[2][1]"),
        ("[text【1†L3】](http://a.example)", "text[1] (http://a.example)"),
        ("`code【1†L3】`", "code【1†L3】"),
        ("\\`no code【1†L3】", "`no code[1]"),
    ],
)
def test_a_citation_may_stand_wherever_text_does(source: str, shown: str) -> None:
    assert laid_out(source).plain == shown


def test_styles_of_markdown_stay_beside_citations() -> None:
    [style] = styles(laid_out("## Title 【1†L3】\n\n`code`"), "code")
    assert style == "$secondary"


def test_a_text_that_grows_is_laid_out_as_the_whole() -> None:
    text = "First【1†L3】.\n\n- one【0†L8】\n- two【2†L40】\n\nLast【9†L1】."
    citations = Citations(pages_of(browsed()))
    layout, shown = GrowingLayout(60, citations), Content()
    for end in range(1, len(text) + 1):
        citations.read(text[:end])
        shown = joined(layout.extend(text[:end]))
    assert shown.plain == laid_out(text).plain == "First[1].\n\n • one[2]\n • two[1]\n\nLast【9†L1】."
