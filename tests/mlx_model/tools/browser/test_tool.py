"""Tests for the browser tool: what it forgives, what a view may take, cursors, and what stands where."""

from typing import Any

import pytest

from mlx_model.harmony.calls import ToolCall, read_call
from mlx_model.harmony.message import Message, Role, user
from mlx_model.request import Request
from mlx_model.tools.base import Tool
from mlx_model.tools.browser import Browser, Result, Source
from mlx_model.tools.toolbox import Toolbox
from tests.fixtures.vocabulary import o200k
from tests.mlx_model.tools.browser.conftest import Results, Site, use


@pytest.fixture
def browser(site: Site, search: Results) -> Browser:
    return Browser(search, fetcher=site)


def test_it_is_a_tool_that_a_request_declares_by_its_name(browser: Browser) -> None:
    toolbox = Toolbox([browser])
    assert isinstance(browser, Tool)
    assert list(toolbox.request(Request((user("Hi"),))).tools) == ["browser"]
    message = Message(Role.ASSISTANT, '{"query": "x"}', channel="analysis", recipient="browser.search")
    call = toolbox.read(message)
    assert call is not None and toolbox.tool(call) is browser
    assert read_call(message) == call


async def test_a_search_gives_links_that_open_by_their_number(browser: Browser, site: Site, search: Results) -> None:
    found = await use(browser, "search", query=" kernels ", topn=3, source="web", unknown=[1])
    assert found.outcome == "2 results" and search.queries == [("kernels", 3)]
    assert "L4:   * 【0†Page A†a.example】 About a.\nL5:   * 【1†Page C†other.example】" in found.text
    assert (await use(Browser(search, fetcher=site), "search", query="x", topn=1)).outcome == "1 result"
    page = await use(browser, "open", id=1)
    assert page.text.startswith("[1] Page C (https://other.example/c)\n**viewing lines [0 - ") and not page.error
    last = page.text.count("\nL") - 1
    assert page.outcome == f"other.example L0-{last} of {last}" and page.seconds >= 0
    source = await use(browser, "open", view_source=True)
    assert (
        source.outcome.startswith("other.example L")
        and source.text.startswith("[2] c (view-source:https://other.example/c)")
        and "<p>c, too.</p>" in source.text
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"id": "0", "cursor": "0"},
        {"id": 0.0, "cursor": 0},
        {"id": "【0†Page A†a.example】"},
        {"url": "https://a.example/"},
        {"id": "a.example/"},
        {"id": "https://a.exam ple/"},
        {"id": " <https://a.example/#part> "},
        {"id": "https://a.example/", "cursor": 0, "loc": None, "num_lines": "", "view_source": "false"},
    ],
)
async def test_what_has_only_one_meaning_is_understood(browser: Browser, arguments: dict[str, Any]) -> None:
    await use(browser, "search", q="a")
    assert (await use(browser, "open", **arguments)).text.startswith("[1] Page A (https://a.example/)")


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        ("open", {"cursor": 0}, "No pages to access!"),
        ("find", {"pattern": "x"}, "No pages to access!"),
        ("find", {}, "`pattern` should be a string with the words to find"),
        ("search", {"query": 3}, "`query` should be a string with the words to search for"),
        ("open", {"id": "Page A"}, "Invalid link id `Page A`."),
        ("open", {"id": "page"}, "Invalid link id `page`."),
        ("open", {"id": "mailto:a@b.example"}, "Error fetching URL `mailto:a@b.example`: 404 Not Found"),
        ("open", {"id": [1]}, "`id` should be an integer or a string, not `list`"),
        ("open", {"id": 1, "cursor": True}, "`cursor` should be an integer, not `bool`"),
        ("close", {}, '{"error": "Unknown function: close"}'),
        ("open", {"id": "https://a.example/gone"}, "Error fetching URL `https://a.example/gone`: 404 Not Found"),
    ],
)
async def test_what_is_wrong_is_said_as_the_model_knows_it(
    browser: Browser, function: str, arguments: dict[str, Any], text: str
) -> None:
    result = await use(browser, function, **arguments)
    assert result.error and result.text == text
    assert result.outcome == ("404 Not Found" if text.endswith("404 Not Found") else "")
    assert not browser.has_pages  # what fails pushes nothing


async def test_a_search_that_fails_says_why_and_asks_nobody_else(site: Site) -> None:
    browser = Browser(Results(), fetcher=site)
    result = await use(browser, "search", query="x y")
    assert result.error and result.text == "Error during search for `x y`: the service is down"
    assert result.outcome == "the service is down"


async def test_what_nobody_thought_of_is_a_result_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def search(query: str, count: int) -> list[Result]:
        raise RuntimeError("my own")

    browser = Browser(search, fetcher=site)
    assert (await use(browser, "search", query="x")).text == "Error during search for `x`: my own"

    async def fetch(url: str, may_open: object = None) -> None:
        raise LookupError

    monkeypatch.setattr(site, "fetch", fetch)
    result = await use(browser, "open", id="https://a.example/")
    assert (result.error, result.text) == (True, "Error: LookupError")


async def test_a_link_opens_from_what_is_kept_and_a_url_afresh(browser: Browser, site: Site) -> None:
    await use(browser, "open", id="https://a.example/")
    await use(browser, "open", id=0)
    await use(browser, "open", id=0, cursor=0)
    assert site.requests == ["https://a.example/", "https://a.example/b"]
    await use(browser, "open", id="https://a.example/b")
    assert site.requests[2:] == ["https://a.example/b"]


async def test_the_model_sees_no_more_than_there_is_room_for(browser: Browser) -> None:
    tokenizer = o200k()
    for room, least, most in ((4_000, 950, 1_150), (400, 280, 420), (0, 60, 160)):
        shown = await use(browser, "open", room, id="https://a.example/", num_lines=10_000)
        assert least < len(tokenizer.encode(shown.text)) < most
    few = await use(browser, "open", id="https://a.example/", num_lines=3)
    assert few.outcome.startswith("a.example L0-2 of ") and few.text.count("\nL") == 3
    later = await use(browser, "open", loc="5", num_lines="2")
    assert later.outcome.startswith("a.example L5-6 of ")


async def test_after_a_find_the_model_means_the_page_it_searched(browser: Browser) -> None:
    await use(browser, "open", id="https://a.example/")
    found = await use(browser, "find", query="Paragraph 7 has")
    assert found.outcome == "1 match" and "match at L" in found.text
    assert (await use(browser, "open", id=1)).text.startswith("[2] Page C")  # a link of the page
    await use(browser, "find", pattern="kernels", cursor=0)
    assert (await use(browser, "open", loc=20)).text.startswith("[4] Page A (https://a.example/)\n**viewing lines [20 ")
    again = await use(browser, "find", pattern="paragraph  8\nhas")
    assert again.text.startswith("[5] Find results for text: `paragraph 8 has` in `Page A`")
    assert (await use(browser, "find", pattern="Paragraph 9 has")).outcome == "1 match"  # in the page, not the list
    assert "Paragraph 9 has" in (await use(browser, "open", id=0)).text.split("\n")[7]  # four lines above the match


async def test_a_find_in_results_of_a_search(browser: Browser) -> None:
    await use(browser, "search", query="a")
    assert "match at L4" in (await use(browser, "find", pattern="about A")).text
    assert (await use(browser, "open", id=0)).text.startswith("[2] a\n**viewing lines [4 - 5] of 5**")


async def test_every_request_is_asked_about(site: Site, search: Results) -> None:
    asked: list[tuple[str, str]] = []

    async def may_open(url: str, sender: str) -> str | None:
        asked.append((url, sender))
        return "The user declined this call." if url.endswith("/b") else None

    browser = Browser(search, fetcher=site, may_open=may_open)
    await use(browser, "open", id="https://a.example/")
    result = await use(browser, "open", id=0)
    assert result.error and result.text.endswith("`https://a.example/b`: The user declined this call.")
    assert asked == [("https://a.example/", ""), ("https://a.example/b", "")]


async def test_what_a_call_would_fetch_is_known_before(browser: Browser) -> None:
    def request(**arguments: Any) -> str:
        return browser.request_of(ToolCall("browser.open", "", arguments=arguments))

    assert request(id=0) == request(id=[]) == ""
    await use(browser, "search", query="a")
    assert request(id=0) == "https://a.example/" and request(id=1) == "https://other.example/c"
    assert request(id=7) == request(loc=3) == ""
    assert request(id="b.example/x?y=1#z") == "https://b.example/x?y=1"
    await use(browser, "open", id=1)
    assert request(id=1, cursor=0) == "" and request(view_source=True) == "https://other.example/c"


async def test_which_urls_stood_on_a_page(browser: Browser, site: Site) -> None:
    site.pages["https://t.example/"] = f"<p>{'Write to https://d.example/x?y=1, or so. ' * 9}</p>"
    assert not browser.knows("https://a.example/")
    await use(browser, "open", id="https://a.example/")
    for url in ("https://a.example", "https://A.example/#top", "https://other.example/c", "https://a.example/b"):
        assert browser.knows(url)
    for url in (
        "https://a.example/b?x=secret",
        "http://a.example/b",
        "https://evil-a.example/b",
        "https://d.example/x",
    ):
        assert not browser.knows(url)
    await use(browser, "open", id="https://t.example/")
    assert browser.knows("https://d.example/x?y=1")


async def test_what_citations_refer_to(browser: Browser) -> None:
    await use(browser, "search", query="a")
    await use(browser, "open", id=0)
    await use(browser, "find", pattern="kernels")
    source = browser.source(0, 5)
    assert source is not None and (source.title, source.url) == ("Page C", "https://other.example/c")
    assert (browser.source(0, 4) or source).url == (browser.source(0, 99_999) and "https://a.example/")
    page = browser.source(1)
    assert isinstance(page, Source) and (page.title, page.url) == ("Page A", "https://a.example/")
    assert any("Paragraph 0" in line for line in page.lines)
    found = browser.source(2, 1)
    assert found is not None and (found.title, found.url) == ("Page A", "https://a.example/")
    assert found.lines[0].startswith("# 【0†match at L")
    assert browser.source(3) is None and browser.source(-1) is None


async def test_a_closed_browser_opens_nothing(browser: Browser, site: Site) -> None:
    await browser.close()
    assert (await use(browser, "open", id="https://a.example/")).error and not site.requests


async def test_results_that_are_no_pages_are_left_out(site: Site) -> None:
    odd = [
        Result("x", "javascript:alert(1)"),
        Result("y", "https://bank.com@evil.example/"),
        Result("", "https://e.example/p"),
    ]
    shown = await use(Browser(Results(*odd), fetcher=site), "search", query="【a†】\n\x1b[2J")
    assert shown.outcome == "1 result" and "【0†https://e.example/p†e.example】" in shown.text
    assert shown.text.startswith("[0] 〖a‡〗 ␛[2J\n**viewing")
