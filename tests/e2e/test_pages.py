"""Pages of answers in a real browser, in the frame that the program opens them in: they are drawn, they move, and
nothing leaves them."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.tools.web_pages import write_page
from tests.fixtures import ROOT
from tests.fixtures.chromium import ESCAPES, MISSING, PATIENCE_S, Browser, pixels, program

EXAMPLES = sorted((ROOT / "assets" / "pages").glob("*.html"))
STAYS = "<!doctype html><title>stays</title><body style='background: linear-gradient(red, blue)'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if (found := program()) is None:
        pytest.skip(MISSING)
    browser = Browser(found, str(tmp_path_factory.mktemp("profile")))
    yield browser
    browser.close()


def changed(one: bytes, other: bytes) -> int:
    """How many pixels differ."""
    return sum(a != b for a, b in zip(pixels(one), pixels(other), strict=True))


def drawn(browser: Browser) -> bytes:
    """A picture of the page, once it isn't blank."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        picture = browser.picture()
        if len(set(pixels(picture))) > 3:
            return picture
    raise AssertionError(f"{browser.title} stays blank")


def test_both_examples_are_there() -> None:
    assert [page.name for page in EXAMPLES] == ["bouncing_balls.html", "snake.html"]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.stem)
def test_an_example_is_drawn_and_moves(page: Path, browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(page.read_text("utf-8"), tmp_path))
    first = drawn(browser)
    until = time.monotonic() + PATIENCE_S
    while changed(first, browser.picture()) <= 500:
        assert time.monotonic() < until, "it stands still"


def test_a_page_that_stands_still_would_be_noticed(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(STAYS, tmp_path))
    first = drawn(browser)
    assert changed(first, browser.picture()) == 0


def test_nothing_leaves_a_page(browser: Browser, tmp_path: Path) -> None:
    reached: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            """Called for each request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        browser.open(write_page(ESCAPES.format(url=url), tmp_path))
        assert browser.title == "escapes (by the model)" and reached == []
        # Without the frame an image gets out: by then those attempts within it have had their time as well.
        (free := tmp_path / "free.html").write_text(f"<title>free</title><img src={url}/free>")
        browser.open(free)
        until = time.monotonic() + PATIENCE_S
        while not reached and time.monotonic() < until:
            time.sleep(0.05)
        assert reached == ["/free"]
    finally:
        server.shutdown()
        server.server_close()
