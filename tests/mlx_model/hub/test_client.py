"""What the environment says of proxies, certificates and the login: used where it is meant well, else named."""

import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import client, environment
from mlx_model.hub.download import Downloaded, fetch, prepare
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import HubServer
from tests.fixtures.socks_server import socks_server

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[None]:
    """Nothing set, and the client is made anew in each test."""
    from huggingface_hub import close_session

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    close_session()
    yield
    close_session()


def failure() -> str:
    with pytest.raises(CheckpointError) as caught:
        prepare("gpt-oss-20b")
    text = str(caught.value)
    assert text.isprintable() and "HF_ENDPOINT" not in text
    return text


@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
def test_a_socks_proxy(server: HubServer, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str) -> None:
    """All goes through it, the redirect to the storage too, and the names are resolved by it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", server.url.replace("127.0.0.1", "hub.invalid"))
    with socks_server() as proxy:
        monkeypatch.setenv(variable, f"{scheme}://127.0.0.1:{proxy.port}")
        *_, last = fetch(prepare("gpt-oss-20b"))
        assert isinstance(last, Downloaded)
        assert {"hub.invalid", "localhost"} == {*proxy.asked}
        assert os.environ[variable].startswith(f"{scheme}://")


def test_a_socks_proxy_that_is_not_there(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    assert "can't be reached" in (text := failure()) and "the proxy" in text


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "value",
    [
        "http://[::1",
        "http://",
        "http://user:secret@host:port",
        "http://host:99999",
        "host:0",
        "socks4://host:1",
        "ftp://host",
        "http://a b:1",
        "http://a\x07b:1",
        "::1:3128",
        "socks5h://",
    ],
)
def test_what_is_no_proxy_is_named(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    text = failure()
    assert text.startswith(f"{variable} is not the address of a proxy") and "secret" not in text
    assert server.requests == []


@pytest.mark.parametrize("value", ["/nowhere/ca.pem", str(Path(__file__))])
def test_certificates_that_can_not_be_read(server: HubServer, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", value)
    assert "check SSL_CERT_FILE" in failure()


def test_a_client_that_can_not_be_made_for_another_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    for error, says in (
        (ssl.SSLError("x"), "SSL_CERT_FILE"),
        (ValueError("x"), "NO_PROXY"),
        (ImportError("x"), "NO_PROXY"),
    ):

        def fail(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(huggingface_hub, "get_session", fail)
        with pytest.raises(CheckpointError, match=says):
            client.session()


@pytest.mark.parametrize(
    "pasted",
    [
        TOKEN,
        f" {TOKEN}\n",
        f'"{TOKEN}"',
        f"\u201c{TOKEN}\u201d",
        f"\u2018{TOKEN}\u2019",
        f"Bearer {TOKEN}",
        f"bearer: {TOKEN}",
        f'"Bearer {TOKEN}"\r\n',
        f"Bearer \u201c{TOKEN}\u201d",
        f"\ufeff{TOKEN}\u200b",
    ],
)
def test_a_token_as_it_is_pasted(server: HubServer, monkeypatch: pytest.MonkeyPatch, pasted: str) -> None:
    server.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", pasted)
    *_, last = fetch(prepare("gpt-oss-20b"))
    assert isinstance(last, Downloaded)
    assert server.leaked == []


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
@pytest.mark.parametrize("value", ["höf_abc", "hf_a b", "\u201c\u201d", "Bearer ", "hf_\x07", "日本"])
def test_what_is_no_token_is_named(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    text = failure()
    assert text.startswith(f"{variable} is not a token") and value not in text
    assert server.requests == []


@pytest.mark.parametrize("content", ["höf_abc".encode(), b"\xff\xfe"])
def test_a_saved_login_that_is_none(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    from huggingface_hub import constants

    (tmp_path / "token").write_bytes(content)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert "the saved login" in failure()


def test_no_login(server: HubServer) -> None:
    assert "authorization" not in client.headers() and "gptoss-chat/" in client.headers()["user-agent"]
    assert prepare("gpt-oss-20b").commit == server.commit(REPO)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("http://127.0.0.1:9", "can't be reached"),
        ("huggingface.co", "check HF_ENDPOINT"),
        ("ftp://x", "check HF_ENDPOINT"),
        ("http://a\x07b", "check HF_ENDPOINT"),
    ],
)
def test_an_endpoint_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str, says: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", value)
    with pytest.raises(CheckpointError, match=says) as caught:
        prepare("gpt-oss-20b")
    assert str(caught.value).isprintable()


def test_variables_that_huggingface_hub_can_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads them when it is imported, as for the first time here."""
    import huggingface_hub

    monkeypatch.delattr(huggingface_hub, "constants")
    monkeypatch.delitem(sys.modules, "huggingface_hub.constants")
    monkeypatch.setenv("HF_ENDPOINT", "http://[::1")
    for use in (environment.endpoint, environment.cache_folder):
        with pytest.raises(CheckpointError, match=r"can't be read \(Invalid IPv6 URL\): check HF_ENDPOINT"):
            use()


class Endless(BaseHTTPRequestHandler):
    """Answers with this status and place, and a body without end; notes who logs in."""

    status, place = 500, ""
    logins: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.logins.append(self.headers["Authorization"])
        self.send_response(self.status)
        if self.place:
            self.send_header("Location", self.place)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"x" * 65536)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Endless]]:
    """A Hub of that kind; the handler, to be set up."""
    from huggingface_hub import constants

    handler = type("Handler", (Endless,), {"logins": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as hub:
        hub.daemon_threads, hub.block_on_close = True, False
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{hub.server_address[1]}")
        Thread(target=hub.serve_forever, args=(0.01,), daemon=True).start()
        yield handler
        hub.shutdown()


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_a_body_without_end_is_not_read(endless: type[Endless], status: int) -> None:
    endless.status = status
    with pytest.raises(CheckpointError):
        prepare("gpt-oss-20b")


def test_redirects_without_end(endless: type[Endless]) -> None:
    endless.status, endless.place = 302, "/again"
    with pytest.raises(CheckpointError, match="sends requests on to others without end"):
        prepare("gpt-oss-20b")
    assert len(endless.logins) == 10


@pytest.mark.parametrize("place", ["file:///etc/passwd", "http://[::1", "ftp://x/y"])
def test_a_redirect_to_what_is_no_web(endless: type[Endless], place: str) -> None:
    endless.status, endless.place = 302, place
    with pytest.raises(CheckpointError):
        prepare("gpt-oss-20b")
    assert len(endless.logins) == 1


def test_the_login_stays_with_the_host(
    server: HubServer, endless: type[Endless], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    endless.status, endless.place = 302, f"{server.url.replace('127.0.0.1', 'localhost')}/api/models/{REPO}?blobs=true"
    assert prepare("gpt-oss-20b").commit == server.commit(REPO)
    assert endless.logins == [f"Bearer {TOKEN}"] and server.logins == [None]


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\xff", b"\x04", b""])
def test_a_proxy_that_speaks_no_socks(server: HubServer, monkeypatch: pytest.MonkeyPatch, greeting: bytes) -> None:
    with socks_server(greeting) as proxy:
        monkeypatch.setenv("all_proxy", f"socks5://127.0.0.1:{proxy.port}")
        assert "the proxy" in failure()
