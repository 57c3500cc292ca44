"""Tests for the search services, beside a server that answers as each of them documents."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from mlx_model.errors import RequestError
from mlx_model.tools.browser import Result
from mlx_model.tools.browser.backends import NAMES, SERVICES, Ddgs, choose
from mlx_model.tools.browser.errors import BrowserError

PAGE = {"title": "A &amp; <b>B</b>", "url": "https://a.example/x"}
FOUND = Result("A & B", "https://a.example/x", "Some words.")
# The path, the request's own fields, the documented shape of the answer, and what is made of it.
SHAPES: dict[str, tuple[str, dict[str, Any], Any, list[Result]]] = {
    "wikipedia": (
        "/w/api.php",
        {
            "action": "query",
            "list": "search",
            "srsearch": "a b",
            "srlimit": "2",
            "srprop": "snippet",
            "format": "json",
            "formatversion": "2",
        },
        {
            "batchcomplete": True,
            "query": {
                "search": [
                    {
                        "ns": 0,
                        "title": "Café & tea?",
                        "pageid": 1,
                        "snippet": 'A <span class="searchmatch">b</span>',
                    },
                    {"ns": 0, "pageid": 2},
                ]
            },
        },
        [Result("Café & tea?", "/wiki/Caf%C3%A9_%26_tea%3F", "A b")],
    ),
    "searxng": (
        "/search",
        {"q": "a b", "format": "json"},
        {"query": "a b", "results": [{**PAGE, "content": "Some words.", "engine": "x"}] * 5, "answers": []},
        [FOUND] * 2,
    ),
    "brave": (
        "/res/v1/web/search",
        {"q": "a b", "count": "2"},
        {
            "type": "search",
            "web": {"type": "search", "results": [{**PAGE, "description": "Some <strong>words</strong>."}]},
        },
        [FOUND],
    ),
    "tavily": (
        "/search",
        {"query": "a b", "max_results": 2},
        {"query": "a b", "answer": None, "results": [{**PAGE, "content": "Some words.", "score": 0.8}]},
        [FOUND],
    ),
    "exa": (
        "/search",
        {"query": "a b", "numResults": 2, "contents": {"highlights": True}},
        {"requestId": "x", "results": [{"title": "A & B", "url": PAGE["url"], "highlights": ["Some", "words."]}]},
        [Result("A & B", "https://a.example/x", "Some ... words.")],
    ),
    "kagi": (
        "/api/v1/search",
        {"query": "a b"},
        {"meta": {"trace": "x"}, "data": {"search": [{**PAGE, "snippet": "Some words."}], "news": []}},
        [FOUND],
    ),
}
KEY_HEADERS = {
    "brave": ("X-Subscription-Token", "secret"),
    "tavily": ("Authorization", "Bearer secret"),
    "exa": ("x-api-key", "secret"),
    "kagi": ("Authorization", "Bearer secret"),
}


class Handler(BaseHTTPRequestHandler):
    """Remembers the request, and sends what the server is to send."""

    server: "Server"

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Answers with what the query string says as the fields."""
        parts = urlsplit(self.path)
        self._answer(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()})

    def do_POST(self) -> None:
        """Answers with the JSON of the body as the fields."""
        self._answer(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, path: str, fields: dict[str, Any]) -> None:
        self.server.requests.append((path, fields, dict(self.headers)))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)


class Server(HTTPServer):
    """One answer, and the requests that got it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.status, self.body = 200, b""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def server(running: Server) -> Server:
    running.requests.clear()
    running.status, running.body = 200, b""
    return running


@pytest.mark.parametrize("name", SERVICES)
async def test_what_a_service_is_asked_and_what_is_made_of_its_answer(server: Server, name: str) -> None:
    path, fields, answer, results = SHAPES[name]
    server.body = json.dumps(answer).encode()
    search = choose(name, {SERVICES[name].variable: "secret"}, url=f"{server.url}/")
    found = await search("a b", 2)
    assert [Result(each.title, each.url.removeprefix(server.url), each.snippet) for each in found] == results
    ((asked, sent, headers),) = server.requests
    assert asked == path and fields.items() <= sent.items()
    assert headers["User-Agent"].startswith("gptoss-chat")
    if name in KEY_HEADERS:
        header, value = KEY_HEADERS[name]
        assert {key.lower(): each for key, each in headers.items()}[header.lower()] == value
    assert (search.name, search.host) == (name, server.url[7:])


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b"null", b'{"results": {}, "web": [], "query": {"search": [1, {}]}, "data": 3}']
)
async def test_an_answer_of_another_shape_has_no_results(server: Server, name: str, body: bytes) -> None:
    server.body = body
    assert not await choose(name, {}, key="k", url=server.url)("a", 2)


@pytest.mark.parametrize(
    ("name", "status", "body", "reason"),
    [
        ("brave", 401, b"secret words", "answered 401: the key was not accepted"),
        ("tavily", 429, b"", "answered 429: that were too many searches for now"),
        ("exa", 500, b"", "answered 500: Internal Server Error"),
        (
            "searxng",
            403,
            b"",
            'answered 403: it gives no JSON; "json" has to be among search.formats in its settings.yml',
        ),
        ("wikipedia", 200, b"<html>", "did not answer in JSON"),
        ("kagi", 302, b"", "answered 302: Found"),
    ],
)
async def test_what_goes_wrong(server: Server, name: str, status: int, body: bytes, reason: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(BrowserError) as raised:
        await choose(name, {}, key="secret", url=server.url)("a", 2)
    assert str(raised.value) == f"{server.url[7:]} {reason}"
    assert len(server.requests) == 1  # nobody else is asked


async def test_a_service_that_is_not_there() -> None:
    with pytest.raises(BrowserError, match="can't be reached"):
        await choose("searxng", {}, url="http://127.0.0.1:9")("a", 2)


def test_each_key_has_its_customary_variable() -> None:
    keys = {name: service.variable for name, service in SERVICES.items() if service.variable}
    assert keys == {name: f"{name.upper()}_API_KEY" for name in ("brave", "tavily", "exa", "kagi")}


def test_what_a_choice_lacks_is_named() -> None:
    for name, arguments, reason in (
        ("google", {}, f"there is no search 'google'; there is: {', '.join(NAMES)}"),
        ("brave", {}, "the search brave needs a key: set BRAVE_API_KEY"),
        ("searxng", {}, "the search searxng needs a URL that begins with http:// or https://"),
        ("searxng", {"url": "ftp://x"}, "the search searxng needs a URL that begins with http:// or https://"),
    ):
        with pytest.raises(RequestError) as raised:
            choose(name, {}, **arguments)
        assert str(raised.value) == reason
    assert choose("wikipedia", {}).host == "en.wikipedia.org"


async def test_ddgs(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("ddgs")

    class Client:
        def __init__(self, timeout: int) -> None: ...

        def text(self, query: str, max_results: int) -> list[dict[str, str]]:
            if query == "fail":
                raise RuntimeError("rate limit")
            return [{"title": query, "href": "https://a.example/", "body": str(max_results)}]

    vars(package)["DDGS"] = Client
    monkeypatch.setitem(sys.modules, "ddgs", package)
    assert await choose("ddgs", {})("a", 3) == [Result("a", "https://a.example/", "3")]
    with pytest.raises(BrowserError, match="ddgs: rate limit"):
        await Ddgs()("fail", 3)
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(BrowserError, match="the package ddgs is missing"):
        await Ddgs()("a", 3)
