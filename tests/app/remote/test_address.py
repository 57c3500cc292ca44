"""Which addresses are servers', where words may go in the clear, and how tokens are kept."""

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from app.engine.engine import EngineError
from app.paths import tokens_file
from app.remote.address import check_open_air, read_address
from app.remote.engine import RemoteEngine
from app.remote.token import keep_token, kept_token, token_in, token_in_environment
from mlx_model.errors import RequestError
from mlx_model.harmony.message import user
from mlx_model.request import Request


@pytest.mark.parametrize(
    ("text", "base", "host"),
    [
        ("http://mini.local:8080", "http://mini.local:8080", "mini.local:8080"),
        ("mini.local:8080/v1/", "http://mini.local:8080", "mini.local:8080"),
        ("https://api.example.org/llm/v1", "https://api.example.org/llm", "api.example.org"),
        ("http://[fe80::1]:80/", "http://[fe80::1]:80", "[fe80::1]:80"),
        (" HTTP://Mini.Local ", "http://mini.local", "mini.local"),
    ],
)
def test_addresses(text: str, base: str, host: str) -> None:
    address = read_address(text)
    assert (address.base, address.host) == (base, host)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://mini.local", "no address"),
        ("", "no address"),
        ("http://", "no address"),
        ("http://mini.local:99999", "no address"),
        ("http://mini .local", "no address"),
        ("http://mini\x1b[2J.local", "no address"),
        ("http://[::1", "no address"),
        ("http://me:secret@mini.local", "--token-file"),
        ("http://mini.local/?a=1", "leave out"),
    ],
)
def test_what_is_no_address(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        read_address(text)
    assert "secret" not in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "found", "is_fine"),
    [
        ("http://mini.local", ["93.184.216.34"], True),  # not even looked up: only the own network knows it
        ("http://box", ["192.168.1.7", "fd00::7"], True),
        ("http://box", ["100.101.102.103"], True),  # a VPN's
        ("http://box", ["fe80::1%en0"], True),
        ("http://box", ["192.168.1.7", "2606:2800:220:1:248:1893:25c8:1946"], False),
        ("http://example.org", ["93.184.216.34"], False),
        ("https://example.org", ["93.184.216.34"], True),
        ("http://127.0.0.1:8080", ["127.0.0.1"], True),
        ("http://gone.example", [], True),  # it is not reached either
    ],
)
async def test_words_go_in_the_clear_within_ones_own_networks_alone(
    url: str, found: list[str], is_fine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(host: str, *arguments: Any, **named: Any) -> list[Any]:
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    if is_fine:
        await check_open_air(read_address(url))
    else:
        with pytest.raises(RequestError, match="not encrypted"):
            await check_open_air(read_address(url))
        with pytest.raises(EngineError, match="not encrypted"):  # before anything is sent
            await anext(RemoteEngine(read_address(url)).ask(Request((user("Hi"),))))


def test_tokens_are_kept_by_address_for_their_owner_alone(home: Path) -> None:
    before = os.umask(0o022)
    try:
        assert kept_token("http://a") is None
        keep_token("http://a", "one")
        keep_token("http://b", "two")
        keep_token("http://a", "three")
    finally:
        os.umask(before)
    assert (kept_token("http://a"), kept_token("http://b"), kept_token("http://c")) == ("three", "two", None)
    assert stat.S_IMODE(tokens_file().stat().st_mode) == 0o600
    tokens_file().chmod(0o640)
    with pytest.raises(RequestError, match="chmod 600"):
        kept_token("http://a")
    tokens_file().chmod(0o600)
    for content in ("[]", "{", json.dumps({"http://a": "two words"}), json.dumps({"http://a": "\x1b"})):
        tokens_file().write_text(content)
        with pytest.raises(RequestError, match=r"has no tokens?"):
            kept_token("http://a")


def test_tokens_that_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("  abc\n")
    assert token_in(file) == "abc"
    file.write_bytes(b"\xff\n")
    for path in (file, tmp_path / "none", tmp_path):
        with pytest.raises(RequestError):
            token_in(path)
    assert token_in_environment() is None
    monkeypatch.setenv("GPTOSS_CHAT_TOKEN", "xyz")
    assert token_in_environment() == "xyz"
