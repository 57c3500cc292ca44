"""A browser that fetches from a dictionary, and a way to call it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import ToolResult
from mlx_model.tools.browser import Browser, Fetcher, Result
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import MayOpen, Response

LINKS = '<p>See <a href="/b">page b</a> and <a href="https://other.example/c#part">page c</a>.</p>'


class Site(Fetcher):
    """Pages of HTML by URL, and what was asked for."""

    def __init__(self, pages: dict[str, str]) -> None:
        super().__init__(pause_s=0)
        self.pages = pages
        self.requests: list[str] = []

    async def fetch(self, url: str, may_open: MayOpen | None = None) -> Response:
        self.requests.append(url)
        if may_open is not None and (refusal := await may_open(url, "")) is not None:
            raise BrowserError(refusal)
        if url not in self.pages:
            raise BrowserError("404 Not Found")
        return Response(url, "text/html; charset=utf-8", self.pages[url].encode())


class Results:
    """A search that finds these, and what was searched for."""

    name = host = "test"

    def __init__(self, *results: Result) -> None:
        self.results = results
        self.queries: list[tuple[str, int]] = []

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        self.queries.append((query, count))
        if not self.results:
            raise BrowserError("the service is down")
        return self.results


Use = Callable[..., Any]


async def use(browser: Browser, function: str, room: int = 4_000, **arguments: Any) -> ToolResult:
    """What the browser answers to a call."""
    return await browser.run(ToolCall(f"browser.{function}", "", "analysis", arguments), lambda text: None, room)


@pytest.fixture
def site() -> Site:
    words = "".join(f"<p>Paragraph {number} has some words about windows and kernels.</p>" for number in range(200))
    return Site(
        {
            "https://a.example/": f"<title>Page A</title><body><main><h1>A</h1>{LINKS}{words}</main>",
            "https://a.example/b": f"<title>Page B</title><body><main>{'<p>b is short.</p>' * 30}</main>",
            "https://other.example/c": f"<title>Page C</title><body><main>{'<p>c, too.</p>' * 30}</main>",
        }
    )


@pytest.fixture
def search() -> Results:
    return Results(Result("Page A", "https://a.example/", "About a."), Result("Page C", "https://other.example/c"))
