"""The services that search the web. One is used, the one that was chosen: no other is asked when it fails."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import tls, user_agent
from mlx_model.tools.browser.search import MOST_RESULTS, Result

_MOST_SECONDS = 15.0
_TAG = re.compile(r"<[^<>]{0,200}>")


@dataclass(frozen=True, slots=True)
class Wikipedia:
    """Wikipedia's own search: needs no key, and finds nothing but its articles.

    API: mediawiki.org/wiki/API:Search.
    """

    language: str = "en"
    url: str = ""
    name: str = field(default="wikipedia", init=False)

    @property
    def host(self) -> str:
        """See Search."""
        return _host(self._url)

    @property
    def _url(self) -> str:
        return self.url or f"https://{self.language}.wikipedia.org"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search."""
        fields = {"action": "query", "list": "search", "format": "json", "formatversion": "2", "srprop": "snippet"}
        answer = await _ask("GET", f"{self._url}/w/api.php", params=fields | {"srsearch": query, "srlimit": str(count)})
        results = []
        for each in _list(answer, "query", "search"):
            title = _text(each, "title")
            url = f"{self._url}/wiki/{quote(title.replace(' ', '_'))}"
            results.append(Result(title, url, _without_tags(_text(each, "snippet"))))
        return results


@dataclass(frozen=True, slots=True)
class Searxng:
    """A SearXNG instance at a URL; its settings have to name "json" among `search.formats`.

    API: docs.searxng.org/dev/search_api.html.
    """

    url: str
    name: str = field(default="searxng", init=False)

    @property
    def host(self) -> str:
        """See Search."""
        return _host(self.url)

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search."""
        url = f"{self.url.rstrip('/')}/search"
        hint = {403: 'it doesn\'t answer in JSON; its settings.yml needs "json" in search.formats'}
        answer = await _ask("GET", url, hint, params={"q": query, "format": "json"})
        return _results(_list(answer, "results"), "content")[:count]


@dataclass(frozen=True, slots=True)
class Brave:
    """Brave's Search API. API: api-dashboard.search.brave.com/api-reference/web/search/get."""

    key: str = field(repr=False)
    url: str = "https://api.search.brave.com"
    name: str = field(default="brave", init=False)

    @property
    def host(self) -> str:
        """See Search."""
        return _host(self.url)

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search. Brave takes 400 characters and 50 words."""
        words = " ".join(query.split()[:50])[:400]
        params = {"q": words, "count": str(min(count, 20))}
        headers = {"X-Subscription-Token": self.key, "Accept": "application/json"}
        answer = await _ask("GET", f"{self.url}/res/v1/web/search", params=params, headers=headers)
        return _results(_list(answer, "web", "results"), "description")


@dataclass(frozen=True, slots=True)
class Tavily:
    """Tavily's search. API: docs.tavily.com/api-reference/endpoint/search."""

    key: str = field(repr=False)
    url: str = "https://api.tavily.com"
    name: str = field(default="tavily", init=False)

    @property
    def host(self) -> str:
        """See Search."""
        return _host(self.url)

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search."""
        body = {"query": query, "max_results": min(count, 20)}
        answer = await _ask("POST", f"{self.url}/search", json=body, headers={"Authorization": f"Bearer {self.key}"})
        return _results(_list(answer, "results"), "content")


@dataclass(frozen=True, slots=True)
class Exa:
    """Exa's search, as in gpt-oss's reference. API: exa.ai/docs/reference/search."""

    key: str = field(repr=False)
    url: str = "https://api.exa.ai"
    name: str = field(default="exa", init=False)

    @property
    def host(self) -> str:
        """See Search."""
        return _host(self.url)

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search."""
        body = {"query": query, "numResults": count, "contents": {"highlights": True}}
        answer = await _ask("POST", f"{self.url}/search", json=body, headers={"x-api-key": self.key})
        results = []
        for each in _list(answer, "results"):
            highlights = [text for text in _list(each, "highlights") if isinstance(text, str)]
            results.append(Result(_text(each, "title"), _text(each, "url"), _without_tags(" ... ".join(highlights))))
        return results


@dataclass(frozen=True, slots=True)
class Kagi:
    """Kagi's Search API, version 1. API: kagi.redocly.app/openapi."""

    key: str = field(repr=False)
    url: str = "https://kagi.com"
    name: str = field(default="kagi", init=False)

    @property
    def host(self) -> str:
        """See Search."""
        return _host(self.url)

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search."""
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = await _ask("POST", f"{self.url}/api/v1/search", json={"query": query}, headers=headers)
        return _results(_list(answer, "data", "search"), "snippet")[:count]


@dataclass(frozen=True, slots=True)
class Ddgs:
    """The package ddgs, which reads the pages of search engines that have no API for this. Whether their terms allow
    that is for the person to judge, so it is never chosen by itself."""

    name: str = field(default="ddgs", init=False)
    host: str = field(default="several search engines", init=False)

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See Search."""
        try:
            import ddgs
        except ImportError:
            raise BrowserError("the package ddgs is missing") from None
        try:
            found = await asyncio.to_thread(
                lambda: ddgs.DDGS(timeout=int(_MOST_SECONDS)).text(query, max_results=count)
            )
        except Exception as error:  # of a dozen kinds, its own and its client's
            raise BrowserError(f"ddgs found nothing: {error}") from None
        return [Result(_text(each, "title"), _text(each, "href"), _text(each, "body")) for each in found]


def most(count: int) -> int:
    """How many results are asked for: as the model says, within what the services give."""
    return max(1, min(count, MOST_RESULTS))


async def _ask(method: str, url: str, hints: Mapping[int, str] | None = None, **request: Any) -> Any:
    """The service's JSON. Raises BrowserError; of what the service answers only its status is told."""
    import httpx2

    headers = {"User-Agent": user_agent(), **request.pop("headers", {})}
    try:
        async with httpx2.AsyncClient(verify=tls(), trust_env=False, timeout=_MOST_SECONDS) as client:
            answer = await client.request(method, url, headers=headers, **request)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        raise BrowserError(f"{_host(url)} can't be reached: {str(error) or type(error).__name__}") from None
    if not answer.is_success:
        known = {401: "the key was not accepted", 403: "the key was not accepted", 429: "too many searches for now"}
        why = (hints or {}).get(answer.status_code) or known.get(answer.status_code) or answer.reason_phrase
        raise BrowserError(f"{_host(url)} answered {answer.status_code}: {why}")
    try:
        return answer.json()
    except (ValueError, RecursionError):
        raise BrowserError(f"{_host(url)} did not answer in JSON") from None


def _results(found: Sequence[Any], snippet: str) -> list[Result]:
    return [
        Result(_without_tags(_text(each, "title")), _text(each, "url"), _without_tags(_text(each, snippet)))
        for each in found
    ]


def _list(value: Any, *names: str) -> list[Any]:
    """The list at the end of a path of names, empty if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def _text(value: Any, name: str) -> str:
    text = value.get(name) if isinstance(value, dict) else None
    return text if isinstance(text, str) else ""


def _without_tags(text: str) -> str:
    """The text of a snippet of HTML, such as services send with the found words in bold."""
    return html.unescape(_TAG.sub("", text))


def _host(url: str) -> str:
    return urlsplit(url).netloc
