"""Pages from the messages of a conversation: what a cursor stands for, which lines are meant, where a link may lead."""

import pytest

from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.tools.shown_pages import Kind, Page, link_to, pages_of, title_of
from tests.fixtures.browsed import FOUND, PAGE, SEARCH, browsed, called

PAGES = pages_of(browsed())
GUIDE = "https://docs.example.org/guide"


def opened(header: str) -> Page:
    """The page of a display that begins so."""
    return pages_of(called("open", "{}", f"{header}\n**viewing lines [0 - 1] of 1**\n\nL0: \nL1: text"))[7]


def test_the_displays_of_a_conversation_are_its_pages() -> None:
    assert [(page.cursor, page.kind, page.title, page.url) for page in PAGES.values()] == [
        (0, Kind.SEARCH, "metal kernels", ""),
        (1, Kind.PAGE, "Metal guide", f"{GUIDE}#top"),
        (2, Kind.PAGE, "Metal guide", GUIDE),
        (3, Kind.FIND, "Find results for text: `barrier` in `Metal guide`", f"{GUIDE}/find?pattern=barrier"),
    ]
    assert PAGES[1].lines[4] == "Threads form threadgroups of at most 1024."
    assert PAGES[2].lines[41].startswith("    threadgroup")


@pytest.mark.parametrize(
    "message",
    [
        Message(Role.TOOL, PAGE, "python", "analysis", "assistant"),  # it can print whatever it likes
        Message(Role.TOOL, PAGE, "functions.browser_open", "commentary", "assistant"),
        Message(Role.TOOL, "Error fetching URL `https://a.example`: 404", "browser.open", "analysis", "assistant"),
        Message(Role.TOOL, f"You have this result already.\n\n{PAGE}", "browser.open", "analysis", "assistant"),
        assistant(PAGE),
        Message(Role.USER, PAGE),
    ],
)
def test_nothing_else_is_a_page(message: Message) -> None:
    assert not pages_of([message])


@pytest.mark.parametrize(
    ("header", "title", "url"),
    [
        ("[7] Foo (bar) (https://a.example/Foo_(bar))", "Foo (bar)", "https://a.example/Foo_(bar)"),
        ("[7] (https://evil.example) (https://a.example)", "(https://evil.example)", "https://a.example"),
        ("[7] no address", "no address", ""),
        ("[7]  (https://a.example)", "", "https://a.example"),
    ],
)
def test_the_address_is_the_last_thing_of_a_header(header: str, title: str, url: str) -> None:
    page = opened(header)
    assert (page.title, page.url) == (title, url)


def test_an_address_that_may_be_cut_off_is_none() -> None:
    address = f"https://a.example/{'x' * 2000}"
    assert opened(f"[7] a ({address[:1023]})").url == address[:1023]
    assert opened(f"[7] a ({address[:1021]}...)").url == ""


def test_the_query_of_a_search_is_no_address() -> None:
    display = SEARCH.replace("metal kernels", "x (https://evil.example)", 1)
    assert pages_of(called("search", "{}", display))[0].url == ""


@pytest.mark.parametrize("arguments", ['{"id": 0, "cursor": 0}', '{"id": "0", "cursor": "0"}', '{"id": 0}'])
def test_the_address_of_a_result_is_that_of_the_page_opened_from_it(arguments: str) -> None:
    messages = [*called("search", "{}", SEARCH), *called("open", arguments, PAGE)]
    assert pages_of(messages)[0].links == {0: f"{GUIDE}#top"}


def test_a_result_is_opened_from_the_page_that_was_shown_last() -> None:
    again = [*called("search", "{}", SEARCH), *called("find", "{}", FOUND), *called("search", "{}", SEARCH)]
    pages = pages_of([*again, *called("open", '{"id": 2}', PAGE)])
    assert pages[0].links == {2: f"{GUIDE}#top"}


@pytest.mark.parametrize(
    "arguments", ['{"id": 0, "cursor": 5}', '{"id": "https://a.example"}', "{}", "[", '{"id": null}', '{"id": 1e999}']
)
def test_other_opened_pages_say_nothing_of_a_result(arguments: str) -> None:
    messages = [*called("search", "{}", SEARCH), *called("open", arguments, PAGE)]
    assert pages_of(messages)[0].links == {}
    after = pages_of([*called("search", "{}", SEARCH), *called("find", "{}", FOUND), *called("open", arguments, PAGE)])
    assert after[0].links == {}  # the newest page is none of results


@pytest.mark.parametrize(
    ("line", "title", "site"),
    [
        (4, "Metal guide", "docs.example.org"),
        (5, "A title so long that the display has to cut the link in its middle, as it does with long lines", "news"),
        (7, "A title so long that the display has to cut the link in its middle, as it does with long lines", "news"),
        (9, "Forum", "forum.example.net"),
    ],
)
def test_a_line_of_a_search_means_the_result_there_or_above(line: int, title: str, site: str) -> None:
    passage = PAGES[0].passage(line, line)
    assert passage.title == title
    assert passage.site.startswith(site)


def test_the_first_result_is_meant_where_the_range_begins_above_it() -> None:
    assert PAGES[0].passage(0, 8).title == "Metal guide"
    assert PAGES[0].passage(0, 2).title == "metal kernels"  # the search itself
    assert PAGES[0].passage(None, None).title == "metal kernels"


def test_what_is_found_within_a_page_is_of_that_page() -> None:
    passage = PAGES[3].passage(0, 9)
    assert (passage.title, passage.url) == ("Metal guide", GUIDE)
    assert passage.lines == (
        (42, "Barriers order access to it."),
        (43, "They are costly."),
        (45, "Use few."),
        (300, "No barrier is needed here."),
    )
    assert passage.key == PAGES[1].passage(3, 4).key


def test_the_heading_of_a_match_means_its_first_line() -> None:
    assert PAGES[3].passage(6, 6).lines == ((300, "No barrier is needed here."),)


def test_a_list_of_matches_may_be_scrolled() -> None:
    passage = pages_of(called("open", '{"loc": 6}', FOUND))[3].passage(7, 7)
    assert (passage.title, passage.url) == ("Metal guide", GUIDE)


def test_the_source_of_a_page_is_that_page() -> None:
    assert opened("[7] a (view-source:https://a.example/)").passage(0, 1).url == "https://a.example/"


def test_lines_that_were_not_shown_are_none() -> None:
    assert PAGES[1].passage(100, 10**6).lines == ()
    assert PAGES[1].passage(4, 100).lines == (
        (4, "Threads form threadgroups of at most 1024."),
        (5, "See 【0†memory】."),
    )


@pytest.mark.parametrize(
    ("url", "link", "host"),
    [
        ("https://docs.python.org/3/a?b=c&d#e", "https://docs.python.org/3/a?b=c&d#e", "docs.python.org"),
        ("HTTP://A.example:8080/", "http://a.example:8080/", "a.example"),
        ("https://a.example/Foo_(bar)", "https://a.example/Foo_%28bar%29", "a.example"),
        ("https://de.example/Straße_1|<x>", "https://de.example/Stra%C3%9Fe_1%7C%3Cx%3E", "de.example"),
        ("https://bank.com@evil.example/x", "https://evil.example/x", "evil.example"),
        ("https://\u0430pple.com/", "https://xn--pple-43d.com/", "xn--pple-43d.com"),
        ("http://[::1]:80/a", "http://[::1]:80/a", "::1"),
        ("https://a.example", "https://a.example", "a.example"),
    ],
)
def test_a_link_is_ascii_and_shows_its_real_host(url: str, link: str, host: str) -> None:
    assert link_to(url) == (link, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/guide",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "ftp://a.example",
        "https://",
        "https://?x",
        "https://evil.example\\@bank.com/",  # a browser goes to evil.example
        "https://a.example/\x1b]8;;x\x07",
        "https://a.example/\u202egnp",
        "https://a.example/\ud800",
        "https://a b.example/",
        "https://a.example:99999/",
        "https://[::1/",
        "https://-.example.-/",
        "https://\u2024.com/",
    ],
)
def test_what_programs_read_differently_is_no_link(url: str) -> None:
    assert link_to(url) == ("", "")


def test_a_title_is_one_clean_line() -> None:
    assert title_of("a\nb\t \x1b[1m\u202ec") == "a b ␛[1mc"
    assert len(title_of("x" * 10**6)) == 200
