"""Tests for pages that survive: a restart, a branch, another computer; and for how many are kept."""

import os
from pathlib import Path
from typing import Any

import pytest

from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, user
from mlx_model.tools.base import ToolResult
from mlx_model.tools.browser import Browser, Result
from mlx_model.tools.browser.display import read_header, readable
from mlx_model.tools.browser.kept_pages import KeptPages, key_of
from mlx_model.tools.browser.page import Page
from tests.mlx_model.tools.browser.conftest import Results, Site, use

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("search", {"query": "letters (and more) in `x`"}),
    ("open", {"id": 0}),
    ("open", {"loc": 30}),
    ("find", {"pattern": "Paragraph 12 has"}),
    ("open", {"id": 0}),
    ("open", {"cursor": 0}),
    ("find", {"pattern": "Page", "cursor": 0}),
    ("open", {"id": "https://odd.example/%E7%B4%A2%20%2F?q=(x)"}),
    ("open", {"id": "https://odd.example/%E7%B4%A2%20%2F?q=(x)", "view_source": True}),
    ("find", {"pattern": "odd", "cursor": 7}),
]


@pytest.fixture
def odd_site(site: Site) -> Site:
    site.pages["https://odd.example/%E7%B4%A2%20%2F?q=(x)"] = (
        "<title>Odd (very) (https://b.example)</title><p>An odd page."
    )
    return site


async def browse(browser: Browser) -> list[Message]:
    """The conversation of CALLS, as it is stored."""
    messages = [user("Look this up.")]
    for function, arguments in CALLS:
        messages += [stored(function, await use(browser, function, **arguments))]
        assert messages[-1].text.startswith(f"[{len(messages) - 2}] ")
    return messages


def call(**arguments: Any) -> ToolCall:
    return ToolCall("browser.open", "", arguments=arguments)


def stored(function: str, result: ToolResult) -> Message:
    return Message(Role.TOOL, result.text, f"browser.{function}", "analysis", "assistant")


async def test_every_cursor_is_there_again_after_a_restart(odd_site: Site, search: Results, tmp_path: Path) -> None:
    first = Browser(search, pages=tmp_path, fetcher=odd_site)
    messages = await browse(first)
    odd_site.pages.clear()  # there is no network now
    for length in range(len(CALLS) + 1):  # as it is after each of them
        second = Browser(search, pages=tmp_path, fetcher=odd_site)
        second.restore(messages[: length + 1])
        for cursor in range(length):
            assert second.source(cursor, 4) == first.source(cursor, 4)
            shown = await use(second, "open", cursor=cursor, loc=0)
            again = await use(first, "open", cursor=cursor, loc=0)
            assert shown.text.partition("] ")[2] == again.text.partition("] ")[2] and shown.text.startswith(
                f"[{length + cursor}]"
            )


async def test_errors_and_other_messages_have_no_cursor(odd_site: Site, search: Results, tmp_path: Path) -> None:
    browser = Browser(search, pages=tmp_path, fetcher=odd_site)
    messages = await browse(browser)
    hint = "You have this result already: the same call was made just before.\n\n"
    others = [
        Message(Role.TOOL, "Invalid link id `9`.", "browser.open", "analysis", "assistant"),
        Message(Role.TOOL, hint + messages[1].text, "browser.search", "analysis", "assistant"),
        Message(Role.TOOL, messages[2].text, "functions.fake", "commentary", "assistant"),
        Message(Role.ASSISTANT, messages[2].text, channel="final"),
        user(messages[2].text),
    ]
    browser.restore([*others, messages[1], *others, *messages[2:4]])
    assert (await use(browser, "open", loc=1)).text.startswith("[3] Page A (https://a.example/)")
    left_out = "[4] Page A (https://a.example/)\n**lines [0 - 86] left out to save room**"
    browser.restore([messages[1], Message(Role.TOOL, left_out, "browser.open", "analysis", "assistant")])
    assert (await use(browser, "open", loc=1)).text.startswith("[5] Page A (https://a.example/)")
    assert (await use(browser, "open", cursor=2)).text == "That page is no longer kept. Search again."
    assert browser.source(2) is None and browser.source(4) is not None
    browser.restore([])
    assert (await use(browser, "open", loc=1)).text == "No pages to access!"


async def test_pages_that_are_not_kept_are_fetched_again(odd_site: Site, search: Results, tmp_path: Path) -> None:
    messages = await browse(Browser(search, pages=tmp_path / "here", fetcher=odd_site))
    elsewhere = Browser(search, pages=tmp_path / "elsewhere", fetcher=odd_site)
    elsewhere.restore(messages)
    odd_site.requests.clear()
    assert elsewhere.request_of(call(cursor=1, id=0)) == "https://a.example/"
    assert elsewhere.request_of(call(cursor=0, id=0)) == elsewhere.request_of(call(cursor=3, id=0)) == ""
    assert elsewhere.source(1) is None and not elsewhere.knows("https://a.example/")
    page = await use(elsewhere, "open", cursor=1, loc=30)
    assert page.text.startswith("[10] Page A (https://a.example/)\n**viewing lines [30 - ")
    assert "match at L" in (await use(elsewhere, "open", cursor=3, loc=0)).text  # searched again
    assert (await use(elsewhere, "open", cursor=3, id=0)).text.partition("] ")[2].startswith("Page A")
    assert odd_site.requests == ["https://a.example/"]
    lost = await use(elsewhere, "open", cursor=0, id=0)
    assert lost.error and lost.text == "The results of that search are no longer kept. Search again."
    await use(elsewhere, "open", cursor=7)
    assert odd_site.requests[1:] == ["https://odd.example/索%20%2F?q=(x)"]


async def test_a_search_in_a_page_needs_no_display_but_its_own(odd_site: Site, search: Results) -> None:
    messages = await browse(Browser(search, fetcher=odd_site))
    browser = Browser(search, fetcher=odd_site)
    browser.restore([messages[4]])
    assert (await use(browser, "open", cursor=3, loc=0)).text == messages[4].text.replace("[3]", "[4]", 1)


async def test_each_search_has_its_own_results(odd_site: Site, tmp_path: Path) -> None:
    first = Browser(Results(Result("A", "https://a.example/")), pages=tmp_path, fetcher=odd_site)
    messages = [stored("search", await use(first, "search", query="x"))]
    second = Browser(Results(Result("B", "https://b.example/")), pages=tmp_path, fetcher=odd_site)
    second.restore(messages)
    messages.append(stored("search", await use(second, "search", query="x")))
    second.restore(messages)
    assert [second.request_of(call(cursor=cursor, id=0))[8:] for cursor in (0, 1)] == ["a.example/", "b.example/"]


async def test_a_title_can_not_pass_for_a_url(odd_site: Site, tmp_path: Path) -> None:
    search = Results(Result("Page A", "https://a.example/"))
    browser = Browser(search, pages=tmp_path, fetcher=odd_site)
    messages = [stored("search", await use(browser, "search", query="x (https://evil.example/)"))]
    messages.append(stored("open", await use(browser, "open", cursor=0)))
    browser.restore(messages)
    assert not browser.knows("https://evil.example/") and browser.knows("https://a.example/")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x%20y", "https://a.example/x%20y"),
        ("https://a.example/%E7%B4%A2", "https://a.example/索"),
        ("https://a.example/%e7%b4%a2", "https://a.example/%e7%b4%a2"),
        ("https://a.example/%E2%80%AE%FF", "https://a.example/%E2%80%AE%FF"),
        ("https://a.example/\n\x1bx y", "https://a.example/␛xy"),
        (f"https://a.example/{'x' * 2_000}", f"https://a.example/{'x' * 1_003}..."),
    ],
)
def test_urls_are_shown_in_letters_where_that_is_the_same(url: str, shown: str) -> None:
    assert readable(url) == shown == readable(shown)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("A (b) c (https://x.example/(y))", ("A (b) c", "https://x.example/(y)")),
        ("A (https://x.example/)", ("A", "https://x.example/")),
        ("words (and more)", ("words (and more)", "")),
        ("words (more", ("words (more", "")),
        ("words", ("words", "")),
    ],
)
def test_what_a_display_begins_with(name: str, parts: tuple[str, str]) -> None:
    header = read_header(f"[12] {name}\n**viewing lines [0 - 3] of 3**\n\nL0: ")
    assert header is not None and (header.cursor, header.parts) == (12, parts)
    assert read_header(f"[1] {name}\nviewing lines") is None
    assert read_header(f"x [1] {name}\n**viewing lines [0 - 1] of 1**\n") is None


def test_the_oldest_pages_go_when_there_are_too_many(tmp_path: Path) -> None:
    kept = KeptPages(tmp_path, most_bytes=4_000)
    for number in range(6):
        kept.put(f"p{number}", Page("https://a.example/", "A", "x" * 1_000, (f"https://a.example/{number}",)))
        if number < 5:
            os.utime(tmp_path / f"p{number}.json", (number, number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p3.json", "p4.json", "p5.json"]
    kept.put("large", Page("", "", "x" * 9_000))
    assert [path.name for path in tmp_path.iterdir()] == ["large.json"]
    kept.put("p5", Page("https://a.example/", "A", "x" * 1_000, ("https://a.example/5",)))
    after = KeptPages(tmp_path, most_bytes=4_000)
    assert after.get("p2") is None and (page := after.get("p5")) is not None
    assert page == Page("https://a.example/", "A", "x" * 1_000, ("https://a.example/5",))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"url": 1, "title": "", "text": "", "links": []}',
        '{"url": "", "title": "", "text": "", "links": [1]}',
    ],
)
def test_a_damaged_file_is_no_page(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    assert KeptPages(tmp_path).get("x") is None


def test_without_a_folder_pages_are_in_memory_and_bounded() -> None:
    kept = KeptPages(most_bytes=3_000)
    for number in range(20):
        kept.put(str(number), Page("", "", "x" * 1_000))
    assert [number for number in range(20) if kept.get(str(number))] == [17, 18, 19]
    kept.put("large", Page("", "", "x" * 9_000))
    assert kept.get("large") and not kept.get("19")


def test_a_full_disk_costs_no_page(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = KeptPages(tmp_path / "file" / "pages")
    kept.put("x", Page("", "", "text"))
    assert kept.get("x") == Page("", "", "text")
    assert key_of("a") != key_of("b") and len(key_of("\ud800")) == 32
