"""Who is let in: hosts, origins, tokens, types of bodies; and the token's file."""

import asyncio
import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from app.server.errors import ApiError
from app.server.guard import MOST_BODY, Guard, Policy, host_of, is_loopback, without_ports
from app.server.listening import listen, listen_at_path
from app.server.token import kept_token
from mlx_model.errors import RequestError

POLICY = Policy(without_ports(["mini.local"]), origins=frozenset({"https://chat.example"}), token="secret-token")
RIGHT = {"authorization": "Bearer secret-token"}
JSON = {"content-type": "application/json; charset=utf-8", "content-length": "2"}


def status_of(
    policy: Policy, headers: dict[str, str | list[str]], method: str = "GET", path: str = "/v1/models"
) -> int:
    """200, or the status of the refusal."""
    try:
        policy.check(
            method, path, {name: [value] if isinstance(value, str) else value for name, value in headers.items()}
        )
    except ApiError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("localhost.", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("mini.local", 200),
        ("", 403),
        (":8080", 403),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost:8080@evil.example", 403),
        ("localhost:port", 403),
        ("[::1", 403),
        ("[::1]evil.example", 403),
        ("::1]", 403),
        ("192.168.1.5", 403),
        (["localhost", "evil.example"], 403),
        ([], 403),
    ],
)
def test_hosts(host: str | list[str], status: int) -> None:
    assert status_of(POLICY, {"host": host, **RIGHT}) == status


def test_an_address_is_no_name() -> None:
    """At an address that others reach any address may stand in the Host, for no page's name comes to mean it."""
    policy = Policy(takes_addresses=True)
    assert status_of(policy, {"host": "192.168.1.5:8080"}) == status_of(policy, {"host": "[fe80::1]:8080"}) == 200
    assert status_of(policy, {"host": "evil.example"}) == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://chat.example", 200), ("https://evil.example", 403), ("null", 403), ("", 403), ("http://localhost", 403)],
)
def test_origins(origin: str, status: int) -> None:
    assert status_of(POLICY, {"host": "localhost", "origin": origin, **RIGHT}) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "secret-token"}, 401),
        ({"authorization": "Basic secret-token"}, 401),
        ({"authorization": "Bearer secret-tokenX"}, 401),
        ({"authorization": "Bearer \xe4"}, 401),
        ({"x-api-key": ""}, 401),
        ({"authorization": "bearer secret-token"}, 200),
        ({"x-api-key": "secret-token"}, 200),
        ({"authorization": "Bearer none", "x-api-key": "secret-token"}, 200),
    ],
)
def test_tokens(headers: dict[str, str | list[str]], status: int) -> None:
    assert status_of(POLICY, {"host": "localhost", **headers}) == status


def test_the_order_of_the_checks() -> None:
    """Host, origin, token, then the body: who may not ask learns nothing of what comes later."""
    body: dict[str, str | list[str]] = {"content-type": "text/plain", "content-length": str(MOST_BODY + 1)}
    for headers, status in (
        ({"host": "evil.example", "origin": "https://evil.example"}, 403),
        ({"host": "localhost", "origin": "https://evil.example"}, 403),
        ({"host": "localhost"}, 401),
        ({"host": "localhost", **RIGHT}, 413),
        ({"host": "localhost", **RIGHT, "content-length": "5"}, 415),
        ({"host": "localhost", **RIGHT, "content-length": "5", "content-type": "application/json"}, 200),
        ({"host": "localhost", **RIGHT, "content-length": "0"}, 200),
    ):
        assert status_of(POLICY, {**body, **headers}, "POST", "/v1/responses") == status
    chunked: dict[str, str | list[str]] = {"host": "localhost", "transfer-encoding": "chunked", **RIGHT}
    assert status_of(POLICY, chunked, "POST") == 415
    assert status_of(POLICY, {"host": "localhost"}, path="/health") == 200


async def asked(policy: Policy, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bool]:
    """The status and headers of an answer, and whether the application was reached."""
    reached = False
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        reached = True
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": "/v1/models", "headers": encoded}
    await Guard(application, policy, lambda path, status: None)(scope, asyncio.Queue[Any]().get, send)
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields, reached


async def test_pages_that_may_ask() -> None:
    host = {"host": "localhost"}
    status, fields, reached = await asked(POLICY, "OPTIONS", {**host, "origin": "https://chat.example"})
    assert status == 204 and not reached and fields["access-control-allow-origin"] == "https://chat.example"
    assert "authorization" in fields["access-control-allow-headers"]
    status, fields, reached = await asked(POLICY, "GET", {**host, **RIGHT, "origin": "https://chat.example"})
    assert status == 200 and reached and fields["access-control-allow-origin"] == "https://chat.example"
    for method in ("GET", "OPTIONS"):
        status, fields, reached = await asked(POLICY, method, {**host, **RIGHT, "origin": "https://evil.example"})
        assert status == 403 and not reached and "access-control-allow-origin" not in fields
    assert "access-control-allow-origin" not in (await asked(POLICY, "GET", {**host, **RIGHT}))[1]


def test_names_and_addresses() -> None:
    assert host_of("[2001:DB8::1]:80") == "2001:db8::1" and host_of("a.b") == "a.b"
    assert is_loopback("127.0.0.5") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("192.168.1.5") and not is_loopback("mini.local")


def test_the_token_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "new" / "token"
    token, is_new = kept_token(path)
    assert is_new and len(token) > 40 and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept_token(path) == (token, False)
    path.chmod(0o644)
    with pytest.raises(RequestError, match="chmod 600"):
        kept_token(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(RequestError, match="16 characters"):
        kept_token(path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError):
        kept_token(path)
    assert "secret-token" not in repr(POLICY)


def test_a_token_that_could_not_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when it is made: an empty file would be one without a token for ever."""
    path = tmp_path / "token"
    with monkeypatch.context() as patch, pytest.raises(RequestError, match="No space left"):
        patch.setattr("app.server.token.secrets.token_urlsafe", lambda _: FullDisk())
        kept_token(path)
    assert kept_token(path)[1]


class FullDisk:
    """A text that can't be written."""

    def __format__(self, _: str) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_socket_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "own" / "gptoss.sock"
    listener = listen_at_path(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700 and stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(RequestError, match="another server"):
        listen_at_path(path)
    listener.close()
    listen_at_path(path).close()  # what a server has left that was killed is no hindrance
    path.parent.chmod(0o755)
    with pytest.raises(RequestError, match="others can enter"):
        listen_at_path(path)
    path.unlink()
    path.parent.chmod(0o700)
    path.write_text("a file")
    with pytest.raises(RequestError, match="can't listen"):
        listen_at_path(path)
    assert path.read_text() == "a file"


def test_an_address_that_is_taken() -> None:
    first = listen("127.0.0.1", 0)
    with pytest.raises(RequestError, match="can't listen at 127"):
        listen("127.0.0.1", first.getsockname()[1])
    first.close()
    with pytest.raises(RequestError, match="no port"):
        listen("127.0.0.1", 70_000)
