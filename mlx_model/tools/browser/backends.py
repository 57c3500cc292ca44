"""The services that search the web. One is used, the one that was chosen: no other is asked when it fails."""

from __future__ import annotations

import asyncio
import html
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from mlx_model.errors import RequestError
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import reason_of, tls, user_agent
from mlx_model.tools.browser.search import NamedSearch, Result

_MOST_SECONDS = 15.0
_TAG = re.compile(r"</?\w[^<>]{0,200}>")
_REFUSALS = {
    401: "the key was not accepted",
    403: "the key was not accepted",
    429: "that were too many searches for now",
}


class Service(ABC):
    """A service with an API. `url` is where it is, by default at its maker's."""

    name = ""
    variable = ""
    """The environment variable that has the key, by custom; "" for a service that needs none."""
    default_url = ""

    def __init__(self, key: str = "", url: str = "") -> None:
        self._key = key
        self._url = (url or self.default_url).rstrip("/")

    @property
    def host(self) -> str:
        """See NamedSearch."""
        return urlsplit(self._url).netloc

    @abstractmethod
    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch."""

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        """The service's JSON. Raises BrowserError; of what the service answers only its status is told."""
        import httpx2

        headers = {"User-Agent": user_agent(), **request.pop("headers", {})}
        try:
            async with httpx2.AsyncClient(verify=tls(), trust_env=False, timeout=_MOST_SECONDS) as client:
                answer = await client.request(method, f"{self._url}{path}", headers=headers, **request)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise BrowserError(f"{self.host} can't be reached: {reason_of(error)}") from None
        if not answer.is_success:
            why = self._refusals.get(answer.status_code, answer.reason_phrase)
            raise BrowserError(f"{self.host} answered {answer.status_code}: {why}")
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise BrowserError(f"{self.host} did not answer in JSON") from None

    @property
    def _refusals(self) -> Mapping[int, str]:
        """What a status means."""
        return _REFUSALS


class Wikipedia(Service):
    """Wikipedia's own search: needs no key, and finds nothing but its articles. API: mediawiki.org/wiki/API:Search."""

    name = "wikipedia"
    default_url = "https://en.wikipedia.org"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch."""
        fields = {"action": "query", "list": "search", "format": "json", "formatversion": "2", "srprop": "snippet"}
        answer = await self._ask("GET", "/w/api.php", params=fields | {"srsearch": query, "srlimit": str(count)})
        return [
            Result(title, f"{self._url}/wiki/{quote(title.replace(' ', '_'))}", _without_tags(_text(each, "snippet")))
            for each in _list(answer, "query", "search")
            if (title := _text(each, "title"))
        ]


class Searxng(Service):
    """A SearXNG instance; its settings have to name "json" among `search.formats`, which public ones seldom do.

    API: docs.searxng.org/dev/search_api.html.
    """

    name = "searxng"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch."""
        answer = await self._ask("GET", "/search", params={"q": query, "format": "json"})
        return _results(_list(answer, "results"), "content")[:count]

    @property
    def _refusals(self) -> Mapping[int, str]:
        return _REFUSALS | {403: 'it gives no JSON; "json" has to be among search.formats in its settings.yml'}


class Brave(Service):
    """Brave's Search API. API: api-dashboard.search.brave.com/api-reference/web/search/get."""

    name = "brave"
    variable = "BRAVE_API_KEY"
    default_url = "https://api.search.brave.com"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch. Brave takes 400 characters and 50 words."""
        params = {"q": " ".join(query.split()[:50])[:400], "count": str(count)}
        answer = await self._ask(
            "GET", "/res/v1/web/search", params=params, headers={"X-Subscription-Token": self._key}
        )
        return _results(_list(answer, "web", "results"), "description")


class Tavily(Service):
    """Tavily's search. API: docs.tavily.com/api-reference/endpoint/search."""

    name = "tavily"
    variable = "TAVILY_API_KEY"
    default_url = "https://api.tavily.com"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch."""
        headers = {"Authorization": f"Bearer {self._key}"}
        answer = await self._ask("POST", "/search", json={"query": query, "max_results": count}, headers=headers)
        return _results(_list(answer, "results"), "content")


class Exa(Service):
    """Exa's search. API: exa.ai/docs/reference/search."""

    name = "exa"
    variable = "EXA_API_KEY"
    default_url = "https://api.exa.ai"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch."""
        body = {"query": query, "numResults": count, "contents": {"highlights": True}}
        answer = await self._ask("POST", "/search", json=body, headers={"x-api-key": self._key})
        return [
            Result(_text(each, "title"), _text(each, "url"), " ... ".join(map(str, _list(each, "highlights"))))
            for each in _list(answer, "results")
        ]


class Kagi(Service):
    """Kagi's Search API, version 1. API: github.com/kagisearch/kagi-openapi-python."""

    name = "kagi"
    variable = "KAGI_API_KEY"
    default_url = "https://kagi.com"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch."""
        headers = {"Authorization": f"Bearer {self._key}"}
        answer = await self._ask("POST", "/api/v1/search", json={"query": query}, headers=headers)
        return _results(_list(answer, "data", "search"), "snippet")[:count]


class Ddgs:
    """The package ddgs, which reads the pages of search engines. Whether their terms allow that is for the person to
    judge, so it is never chosen by itself."""

    name = "ddgs"
    host = "several search engines"

    async def __call__(self, query: str, count: int) -> Sequence[Result]:
        """See NamedSearch."""
        try:
            from ddgs import DDGS
        except ImportError:
            raise BrowserError("the package ddgs is missing") from None
        try:
            found = await asyncio.to_thread(lambda: DDGS(timeout=int(_MOST_SECONDS)).text(query, max_results=count))
        except Exception as error:  # of a dozen kinds, its own and its client's
            raise BrowserError(f"ddgs: {error}") from None
        return [Result(_text(each, "title"), _text(each, "href"), _text(each, "body")) for each in found]


SERVICES: dict[str, type[Service]] = {each.name: each for each in (Wikipedia, Searxng, Brave, Tavily, Exa, Kagi)}
NAMES = (*SERVICES, Ddgs.name)
"""What can be chosen. Without a choice it is Wikipedia."""


def choose(name: str, environment: Mapping[str, str], *, key: str = "", url: str = "") -> NamedSearch:
    """The service of this name, with the key given or the one in the environment. Raises RequestError, which says what
    is missing."""
    if name == Ddgs.name:
        return Ddgs()
    service = SERVICES.get(name)
    if service is None:
        raise RequestError(f"there is no search {name[:40]!r}; there is: {', '.join(NAMES)}")
    key = key or environment.get(service.variable, "")
    if service.variable and not key:
        raise RequestError(f"the search {name} needs a key: set {service.variable}")
    if not (url or service.default_url).startswith(("http://", "https://")):
        raise RequestError(f"the search {name} needs a URL that begins with http:// or https://")
    return service(key, url)


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
