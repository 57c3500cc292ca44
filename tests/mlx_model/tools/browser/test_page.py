"""Tests for a page's lines, and for what becomes of untrusted text in it."""

import pytest

from mlx_model.tools.browser.finding import find
from mlx_model.tools.browser.page import WIDTH, Page, host_of, one_line

LONG = "word " * 40
TEXTS = [
    "",
    "\n",
    "a\n\nb",
    f"{LONG}\n{LONG}end\nlast",
    "x" * 20_000 + "\ny",
    "\tindented" + " " * 300 + "\n" + "-" * 500,
    "行" * 200,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_lines_are_the_text_in_pieces(text: str) -> None:
    page = Page("", "", text)
    assert page.joined == f"{text}\n".expandtabs()
    assert all(len(line) <= WIDTH for line in page.lines)
    assert len(page.lines) >= text.count("\n") + 1
    for number, line in enumerate(page.lines):
        assert page.joined.startswith(line, page.start_of(number))
        assert page.line_at(page.start_of(number)) == number
    assert page.start_of(len(page.lines)) == len(page.joined)


def test_a_phrase_is_found_over_line_breaks_and_through_links() -> None:
    page = Page("u", "t", f"{LONG}see 【3†the long\nguide†a.example】, which\n{LONG}行列の計算" + "は速い。" * 40)
    for pattern, line in (("word see the", 2), ("LONG GUIDE, which word", 2), ("guide", 3), ("は速い。" * 30, 6)):
        found = find(page, pattern)
        assert [page.lines[number] for number in found.matches] == [page.lines[line]], pattern
    assert find(page, "a.example").matches == find(page, " \n ").matches == ()
    assert len(find(Page("u", "t", "x\n" * 1_000), "x").matches) == 50


def test_titles_are_one_short_line() -> None:
    assert one_line(" a\n\u200b【b】†\x1b\u202e  c ") == "a 〖b〗‡␛ c"
    assert one_line("x" * 200) == "x" * 200 and one_line("x" * 201) == "x" * 197 + "..."
    assert one_line("ab" * 1_000_000, 10) == "abababa..."


def test_hosts() -> None:
    assert host_of("https://User:x@A.example:80/b") == "a.example:80" and host_of("https://[") == host_of("") == ""
