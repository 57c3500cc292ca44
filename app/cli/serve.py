"""`gptoss-chat serve`: OpenAI's API for other programs, on this computer or for others with a token."""

import argparse
import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.arguments import PORT, add_adapter, add_hosts, add_model, stated_load
from app.cli.completion import completed_by
from app.cli.loading import PreparingLine, say_what_is_odd
from app.cli.printing import say
from app.cli.usage import UsageError, port
from app.engine.protocol import Loading, LoadProgress, Ready
from app.paths import server_token_file
from app.settings import Settings, load
from app.tools.names import FOLDER, kit_of, read_names
from mlx_model.errors import RequestError
from mlx_model.text import clean

if TYPE_CHECKING:
    from app.server.answering import OwnTools

_EVERY = ("0.0.0.0", "::")
"""Addresses that stand for all of this computer's."""
_OWN = ("python", "browser")
"""Tools that can be offered; the others belong to a person at the screen."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "serve",
        argument_default=argparse.SUPPRESS,
        help="answer other programs by OpenAI's API (Responses and Chat Completions)",
        description="Answer other programs by OpenAI's API: /v1/responses, /v1/chat/completions and /v1/models; "
        "/health and /metrics tell how it is. Several requests are answered together, 32 more may wait. At an address "
        "that others reach, each request needs a token, which is made at the first start and kept beside the "
        "conversations.",
    )
    group = parser.add_argument_group("address")
    group.add_argument("--host", metavar="ADDRESS", help="where to listen (default: 127.0.0.1, this computer alone)")
    group.add_argument("--port", type=port, metavar="N", help=f"the port (default: {PORT})")
    group.add_argument("--socket", type=Path, metavar="PATH", help="listen at a Unix socket instead")
    group = parser.add_argument_group("who may ask")
    group.add_argument("--token", action="store_true", help="require the token on this computer, too")
    group.add_argument(
        "--allow-host", action="append", metavar="NAME", help="a name that this server is asked by; may be repeated"
    )
    group.add_argument(
        "--allow-origin",
        action="append",
        metavar="ORIGIN",
        help='pages that may ask from a browser, as "https://chat.example.org"; may be repeated (default: none)',
    )
    group = parser.add_argument_group("answers")
    group.add_argument(
        "--parallel",
        type=int,
        metavar="N",
        help="requests that are answered together, as far as they fit into memory (default: up to 8, fewer where the "
        "context is short). Together they bring more tokens a second, each fewer than alone",
    )
    group.add_argument("--no-reasoning", action="store_true", help="keep the model's thoughts back; usage counts them")
    group.add_argument("--strict-model", action="store_true", help="refuse requests for a model of another name")
    tools = group.add_argument(
        "--tools",
        metavar="NAMES",
        help="tools that this server runs for clients that ask for them, python (code_interpreter) and browser "
        "(web_search), separated by commas (default: none). Nobody is asked: the permissions of the settings decide",
    )
    completed_by(tools, lambda **_: list(_OWN))
    group = parser.add_argument_group("model")
    add_model(group)
    add_adapter(group)
    add_hosts(group)
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class _Address:
    """Where the server listens: at a socket's path, or at a host and a port."""

    listener: socket.socket
    host: str
    path: Path | None

    @property
    def is_private(self) -> bool:
        """Whether this computer alone reaches it."""
        from app.server.guard import is_loopback

        return self.path is not None or is_loopback(self.host)

    @property
    def names(self) -> list[str]:
        """What others call it."""
        name = socket.gethostname()
        return [self.host] if self.is_private else [self.host, f"{name.partition('.')[0]}.local", name]

    @property
    def url(self) -> str:
        """The base URL of the API. An address that stands for all of a computer's is none to go to."""
        host = self.names[-1] if self.host in _EVERY else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.listener.getsockname()[1]}/v1"


def _listen(arguments: argparse.Namespace) -> _Address:
    from app.server.listening import listen, listen_at_path

    host, path = getattr(arguments, "host", "127.0.0.1"), getattr(arguments, "socket", None)
    listener = listen(host, getattr(arguments, "port", PORT)) if path is None else listen_at_path(path)
    return _Address(listener, host, path)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; returns the exit code. Raises GptossError."""
    from app.server.listening import check_installed

    check_installed()
    settings = load()
    for line in settings.warnings:
        say(line)
    asyncio.run(_serve(arguments, settings))
    return 0


async def _serve(arguments: argparse.Namespace, settings: Settings) -> None:
    from app.engine.client import EngineClient
    from app.server.exchange import Service
    from app.server.guard import Policy, without_ports
    from app.server.http import make_app
    from app.server.line import Line
    from app.server.listening import allow_many_connections
    from app.server.serving import Server, serve
    from app.server.token import kept_token

    parallel = getattr(arguments, "parallel", None)
    if parallel is not None and parallel < 1:
        raise UsageError(f"--parallel is {parallel}; it must be at least 1")
    own = await _own_tools(arguments, settings)
    address = _listen(arguments)
    token, token_file = None, None
    if getattr(arguments, "token", False) or not address.is_private:
        token_file = server_token_file()
        token, is_new = kept_token(token_file)
        if is_new:
            say(f"made a token, which {token_file} keeps: {token}")
    if not address.is_private:
        say("what is asked and answered crosses the network unencrypted: use one that you trust, or --socket and ssh")
    hosts = without_ports([*address.names, *getattr(arguments, "allow_host", [])])
    origins = frozenset(getattr(arguments, "allow_origin", []))
    policy = Policy(hosts, not address.is_private, origins, token)
    asked, engine, preparing = stated_load(arguments, settings), EngineClient(), PreparingLine()

    def announce(reply: Loading | LoadProgress | Ready) -> None:
        preparing.hear(reply)
        say_what_is_odd(reply, asked)
        if isinstance(reply, Ready):
            say(f"{reply.label} answers at {address.path or address.url} (context: {reply.context_length:,} tokens)")

    line = Line(engine, asked, announce, parallel=parallel)
    service = Service(line, own, getattr(arguments, "no_reasoning", False), getattr(arguments, "strict_model", False))

    async def load_and_show() -> None:
        try:
            ready = await line.load()
        finally:
            preparing.end()
        print(clean(_configurations(address, ready, token_file)), flush=True)

    allow_many_connections()
    try:
        await serve(Server(make_app(service, policy), line.stop), address.listener, load_and_show)
    finally:
        await engine.close()
        if address.path is not None:
            address.path.unlink(missing_ok=True)


def _configurations(address: _Address, ready: Ready, token_file: Path | None) -> str:
    from app.server.clients import at_socket, configurations

    if address.path is not None:
        return at_socket(address.path.absolute())
    return configurations(address.url, ready.model, ready.context_length, token_file)


async def _own_tools(arguments: argparse.Namespace, settings: Settings) -> "OwnTools":
    """The tools that are offered, tried once. Raises RequestError for one that can't be used without a person."""
    from app.server.answering import OwnTools, prepared

    text = getattr(arguments, "tools", None)
    asks_folder = FOLDER in map(kit_of, (text or "").lower().replace(",", " ").split())  # before one is asked for
    names = () if text is None else (FOLDER,) if asks_folder else read_names(text)
    for name in map(kit_of, names):
        if name not in _OWN:
            raise RequestError(f"{name} needs a person at the screen; a server can offer {' and '.join(_OWN)}")
    own = OwnTools(names, settings.permissions, settings.most_calls)
    async with prepared(names, own):
        return own
