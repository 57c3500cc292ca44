"""Tests for fetching over a real connection: redirects, limits of size and time, what is sent and what is not."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlx_model.tools.browser import Fetcher
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import MOST_BYTES, check


class Handler(BaseHTTPRequestHandler):
    """Does what its path says, and remembers the headers of each request."""

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """Answers."""
        self.server.requests.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        kind, _, rest = self.path[1:].partition("?")
        if kind == "to":
            self.send_response(302)
            self.send_header("Location", rest)
            self.send_header("Set-Cookie", "a=1")
            self.end_headers()
        elif kind == "status":
            self.send_error(int(rest))
        elif kind == "slow":
            self._answer(b"")
            self.wfile.flush()
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                if self.server.stopping.wait(0.05):  # type: ignore[attr-defined]
                    return
        elif kind == "bomb":
            self._answer(gzip.compress(bytes(4 * MOST_BYTES), 1), "Content-Encoding: gzip")
        elif kind == "endless":
            self._answer(b"")
            while not self.server.stopping.is_set():  # type: ignore[attr-defined]
                self.wfile.write(bytes(1 << 20))
        else:
            self._answer(b"hello", "Content-Type: text/plain; charset=latin-1", "Set-Cookie: b=2")

    def _answer(self, body: bytes, *headers: str) -> None:
        self.send_response(200)
        for header in headers:
            self.send_header(*header.split(": "))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """A server that answers quietly, also to clients that leave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.stopping = threading.Event()
        self.url = f"http://site.test:{self.server_port}"

    def handle_error(self, *arguments: object) -> None:
        """A client has left."""


async def resolver(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.stopping.set()
        made.shutdown()


def fetcher(most_seconds: float = 5.0, pause_s: float = 0.0) -> Fetcher:
    return Fetcher(allow_hosts=["site.test"], resolver=resolver, pause_s=pause_s, most_seconds=most_seconds)


async def refusal(server: Server, path: str, **named: float) -> str:
    """Why a page is not fetched."""
    with pytest.raises(BrowserError) as raised:
        await fetcher(**named).fetch(server.url + path)
    return str(raised.value)


async def test_a_page_with_what_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # would be asked, if the environment counted
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    response = await fetcher().fetch(f"{server.url}/page#part")
    assert (response.data, response.is_cut) == (b"hello", False)
    assert response.content_type == "text/plain; charset=latin-1"
    ((path, headers),) = server.requests
    assert path == "/page" and headers["User-Agent"].startswith("gptoss-chat")
    assert not headers.keys() & {"Cookie", "Authorization", "Referer"} and headers["Accept-Encoding"] == "gzip, deflate"


async def test_each_redirect_is_asked_about_and_cookies_go_with_the_page(server: Server) -> None:
    asked: list[tuple[str, str]] = []

    async def may_open(url: str, sender: str) -> str | None:
        asked.append((url.removeprefix(server.url), sender.removeprefix(server.url)))
        return "no further" if url.endswith("?stop") else None

    one = fetcher()
    response = await one.fetch(f"{server.url}/to?/to?/page", may_open)
    assert response.url == f"{server.url}/page"
    assert asked == [("/to?/to?/page", ""), ("/to?/page", "/to?/to?/page"), ("/page", "/to?/page")]
    await one.fetch(f"{server.url}/other")
    assert "Cookie" not in server.requests[-1][1]
    with pytest.raises(BrowserError, match="no further"):
        await one.fetch(f"{server.url}/to?/page?stop", may_open)
    assert "stop" not in server.requests[-1][0].partition("?")[0]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/to?/to?/to?/to?/to?/to?/to?/page", "it was redirected more than 5 times"),
        ("/to?file:///etc/passwd", "only URLs that begin with http:// or https:// can be opened"),
        ("/to?data:text/html,x", "only URLs that begin with http:// or https:// can be opened"),
        ("/to?http://inside.test:{port}/x", "inside.test is not a public host, so it is not opened"),
        ("/to?http://user:pass@site.test/", "it has a user name in it, and such URLs are not opened"),
        ("/to?http://site.test:25/", "port 25 is not one of the web"),
        ("/status?404", "404 Not Found"),
        ("/status?500", "500 Internal Server Error"),
    ],
)
async def test_what_is_refused_and_why(server: Server, path: str, reason: str) -> None:
    assert await refusal(server, path.format(port=server.server_port)) == reason


async def test_a_page_that_trickles_or_never_ends_is_given_up(server: Server) -> None:
    assert await refusal(server, "/slow", most_seconds=0.2) == "it took more than 0.2 s"
    for path in ("/endless", "/bomb"):
        response = await fetcher().fetch(server.url + path)
        assert len(response.data) == MOST_BYTES and response.is_cut


async def test_a_host_is_asked_once_in_a_while(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, sleep = list[float](), asyncio.sleep

    async def no_wait(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("mlx_model.tools.browser.fetch.asyncio.sleep", no_wait)
    one = fetcher(pause_s=100)
    for number in range(3):
        await one.fetch(f"{server.url}/{number}")
    assert [round(wait, -1) for wait in waits] == [0, 100, 200]


async def test_nobody_answers() -> None:
    with pytest.raises(BrowserError, match="connect"):
        await fetcher().fetch("http://site.test:1999/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/",
        "file:///etc/passwd",
        "view-source:http://a.example/",
        "http://",
        "http:///path",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://a.example:99999/",
        "http://a.example:22/",
        "http://a.example:6379/",
        "https://bank.com@evil.example/",
        "http://a.example\\@evil.example/",
        "http://a.exa%6dple/",
        "http://a.exa mple/",
        "http://a.example<b>/",
    ],
)
def test_urls_that_are_never_opened(url: str) -> None:
    with pytest.raises(BrowserError):
        check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "https://a.example:443/x?y=@z",
        "http://a.example:8080/",
        "https://xn--bcher-kva.example/",
        "http://[2606:4700::1]/",
        "https://bücher.example/a b",
    ],
)
def test_urls_that_may_be(url: str) -> None:
    check(url)
