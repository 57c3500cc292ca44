"""A search of the web, whoever carries it out, and its results as a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import check
from mlx_model.tools.browser.page import Page, PageWriter, one_line, plain

MOST_RESULTS = 20
"""As many as every service gives."""
_MOST_SNIPPET = 500


@dataclass(frozen=True, slots=True)
class Result:
    """A page that a search has found."""

    title: str
    url: str
    snippet: str = ""


Search = Callable[[str, int], Awaitable[Sequence[Result]]]
"""Finds pages for a query, as many at most. What it raises is told to the model."""


class NamedSearch(Protocol):
    """A search that rules and people can name."""

    @property
    def name(self) -> str:
        """One word, by which rules name it."""
        ...

    @property
    def host(self) -> str:
        """Where the query goes, for the person."""
        ...

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search. Raises BrowserError, whose text says what is wrong."""
        ...


def results_page(query: str, results: Sequence[Result]) -> Page:
    """The results as a list of links. What is no link to a page is left out."""
    writer, lines = PageWriter(""), list[str]()
    for result in results:
        url = "".join(result.url.split())
        try:
            check(url)
        except BrowserError:
            continue
        link = writer.link(url, one_line(result.title) or one_line(url))
        lines.append(f"  * {link} {one_line(result.snippet, _MOST_SNIPPET)}".rstrip())
    body = "\n".join(lines) if lines else "Nothing was found. Try other words."
    return writer.page(plain(query), f"# Search Results\n\n{body}")
