"""The HTTP client of huggingface_hub, as the environment sets it up: proxies, certificates, login. And its errors."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from mlx_model.errors import CheckpointError
from mlx_model.hub.spelling import unquoted

TIMEOUT = 20.0
"""Seconds without a byte: a laptop that slept finds its connections dead this much after waking."""
_LONGEST_ANSWER = 60.0  # seconds for all of a short answer, however its bytes trickle

_MOST_REDIRECTS = 10

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SCHEMES = ("http", "https", "socks5", "socks5h")
_BEARER = re.compile(r"^bearer(?:[\s:]+|$)", re.IGNORECASE)
_TOKEN = re.compile(r"[\w.~+/=-]+", re.ASCII)  # RFC 6750, 2.1
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
_NO_CONNECTION = "the connection can't be set up: check HTTPS_PROXY, ALL_PROXY and NO_PROXY"
_lock = Lock()


def session() -> Any:
    """The client that all requests share, httpx's or httpx2's (see `_httpx`).

    Raises CheckpointError, naming the variable, if it can't be made.
    """
    from huggingface_hub import get_session

    with _lock, _checked_proxies():
        try:
            return get_session()
        except OSError as error:
            raise CheckpointError(
                f"the certificates can't be read ({error.strerror or error}): check SSL_CERT_FILE and SSL_CERT_DIR"
            ) from None
        except (ValueError, ImportError):
            raise CheckpointError(_NO_CONNECTION) from None
        except errors():
            raise CheckpointError(_NO_CONNECTION) from None


def headers() -> dict[str, str]:
    """What every request says of the program that sends it, and the person's login.

    Raises CheckpointError if the login can't be one.
    """
    from importlib.metadata import version  # late: it imports much, and only requests need it

    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    try:
        found: dict[str, str] = build_hf_headers(library_name="gptoss-chat", library_version=version("gptoss-chat"))
    except (OSError, ValueError):
        raise CheckpointError("the saved login can't be read: log in again with `hf auth login`") from None
    login = found.pop("authorization", None)
    return found if login is None else found | {"authorization": f"Bearer {_token(login)}"}


def ask(url: str, most: int) -> bytes:
    """The answer of at most `most` bytes to a GET.

    Raises ValueError if it is longer, CheckpointError and what errors() names.
    """
    end = time.monotonic() + _LONGEST_ANSWER
    content = bytearray()
    with opened(url, headers()) as response:
        for piece in response.iter_bytes():
            content += piece
            if len(content) > most:
                raise ValueError("the answer is too long")
            if time.monotonic() > end:
                raise TimeoutError("the answer takes too long")
    return bytes(content)


@contextmanager
def opened(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """The answer to a GET, after redirects; the client leaves the login out when the host changes.

    Of an error, and of what stands beside a redirect, no body is read: it may have no end. Raises CheckpointError and
    what errors() names.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from socksio import ProtocolError

    client = session()
    request = client.build_request("GET", url, headers=headers, timeout=TIMEOUT)
    for _ in range(_MOST_REDIRECTS):
        try:
            response = client.send(request, stream=True, follow_redirects=False)
        except ProtocolError:
            raise _httpx().ProxyError("it doesn't speak SOCKS version 5") from None
        try:
            if response.next_request is None:
                if not response.is_success:
                    raise HfHubHTTPError(response.reason_phrase or "no reason given", response=response)
                yield response
                return
            request = response.next_request
        finally:
            response.close()
    raise _httpx().TooManyRedirects("it sends requests on to others without end")


def errors() -> tuple[type[Exception], ...]:
    """What a request may raise."""
    return OSError, _httpx().HTTPError, _httpx().InvalidURL, _httpx().StreamError


def _httpx() -> Any:
    """The library that huggingface_hub makes its requests with: httpx, since its version 2.0 httpx2."""
    from importlib import import_module

    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return import_module(HTTPError.__module__.partition(".")[0])


@contextmanager
def _checked_proxies() -> Iterator[None]:
    """While the client reads them, "socks://", as GNOME writes it, is called SOCKS version 5, which it is."""
    before = {name: value for name, value in os.environ.items() if name.lower() in _PROXIES and value}
    for name, value in before.items():
        _check_proxy(name, value)
    renamed = {name: f"socks5{value[5:]}" for name, value in before.items() if value.lower().startswith("socks://")}
    os.environ.update(renamed)
    try:
        yield
    finally:
        os.environ.update({name: before[name] for name in renamed})


def _check_proxy(name: str, value: str) -> None:
    """Raises CheckpointError if it is no address. It isn't shown: it may hold a password."""
    address = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(address)
        is_address = bool(parts.hostname) and parts.port != 0 and address.isprintable() and " " not in address
    except ValueError:
        is_address = False
    scheme = address.partition("://")[0].lower()
    if not is_address or scheme not in (*_SCHEMES, "socks"):
        raise CheckpointError(
            f"{name} is not the address of a proxy that can be used: write it as http://host:port or "
            "socks5://host:port, or unset it"
        )


def _token(login: str) -> str:
    """The token alone: it is pasted with quotes, a line break or the word before it. Raises CheckpointError."""
    token = login.translate(_INVISIBLE)
    for _ in range(3):
        token = _BEARER.sub("", unquoted(token))
    if not _TOKEN.fullmatch(token):
        where = next(
            (name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if os.environ.get(name)), "the saved login"
        )
        raise CheckpointError(
            f"{where} is not a token, which has letters, digits and _ alone: paste it again (it begins with hf_), "
            "or unset it; the published models need none"
        )
    return token
