"""`gptoss-chat serve`: OpenAI's API for other programs, on this computer or for others with a token."""

import argparse
import asyncio
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.arguments import add_model, stated_load
from app.cli.completion import completed_by
from app.cli.loading import say_what_is_odd
from app.cli.printing import say
from app.engine.protocol import Loading, LoadProgress, Ready
from app.paths import server_token_file
from app.settings import Settings, load
from app.tools.names import read_names
from mlx_model.errors import RequestError
from mlx_model.extras import install_line

if TYPE_CHECKING:
    from app.server.answering import OwnTools

PORT = 8080
_OWN = ("python", "browser")
"""Tools that can be offered; the others belong to a person at the screen."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "serve",
        argument_default=argparse.SUPPRESS,
        help="answer other programs by OpenAI's API (Responses and Chat Completions)",
        description="Answer other programs by OpenAI's API: /v1/responses, /v1/chat/completions and /v1/models; "
        "/health and /metrics tell how it is. One request runs at a time, eight may wait. At an address that others "
        "reach, each request needs a token, which is made at the first start and kept beside the conversations.",
    )
    group = parser.add_argument_group("address")
    group.add_argument("--host", metavar="ADDRESS", help="where to listen (default: 127.0.0.1, this computer alone)")
    group.add_argument("--port", type=int, metavar="N", help=f"the port (default: {PORT})")
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
    group.add_argument("--no-reasoning", action="store_true", help="keep the model's thoughts back; usage counts them")
    group.add_argument("--strict-model", action="store_true", help="refuse requests for a model of another name")
    tools = group.add_argument(
        "--tools",
        metavar="NAMES",
        help="tools that this server runs for clients that ask for them, python (code_interpreter) and browser "
        "(web_search), separated by commas (default: none). Nobody is asked: the permissions of the settings decide",
    )
    completed_by(tools, lambda **_: list(_OWN))
    add_model(parser.add_argument_group("model"))
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class _Address:
    """Where to listen, and what that is to clients."""

    host: str
    port: int
    path: Path | None

    def url(self, port: int) -> str:
        """The base URL of the API."""
        if self.path is not None:
            return "http://localhost/v1"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/v1"


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; returns the exit code. Raises GptossError."""
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise RequestError(f"the server needs {missing[0]}; install it: {install_line('server')}")
    settings = load()
    for line in settings.warnings:
        say(line)
    asyncio.run(_serve(arguments, settings))
    return 0


async def _serve(arguments: argparse.Namespace, settings: Settings) -> None:
    from app.engine.client import EngineClient
    from app.server.clients import configurations
    from app.server.exchange import Service
    from app.server.guard import Policy, is_loopback, without_ports
    from app.server.http import make_app
    from app.server.line import Line
    from app.server.serving import Server, allow_many_connections, listen, listen_at_path, serve
    from app.server.token import kept_token

    own = await _own_tools(arguments, settings)
    place = _Address(
        getattr(arguments, "host", "127.0.0.1"), getattr(arguments, "port", PORT), getattr(arguments, "socket", None)
    )
    is_private = place.path is not None or is_loopback(place.host)
    needs_token = getattr(arguments, "token", False) or not is_private
    token, is_new = kept_token(server_token_file()) if needs_token else (None, False)
    listener = listen(place.host, place.port) if place.path is None else listen_at_path(place.path)
    hosts = [place.host, *getattr(arguments, "allow_host", []), *([] if is_private else _own_names())]
    origins = frozenset(getattr(arguments, "allow_origin", []))
    policy = Policy(without_ports(hosts), not is_private, origins, token)
    asked = stated_load(arguments, settings)
    port = 0 if place.path is not None else listener.getsockname()[1]

    def announce(reply: Loading | LoadProgress | Ready) -> None:
        say_what_is_odd(reply, asked)
        if isinstance(reply, Ready):
            token_file = None if token is None else str(server_token_file())
            say(f"{reply.model} answers at {place.path or place.url(port)} (context: {reply.context_length:,} tokens)")
            print(configurations(place.url(port), reply.model, reply.context_length, token_file), flush=True)

    engine = EngineClient()
    line = Line(engine, asked, announce)
    service = Service(line, own, getattr(arguments, "no_reasoning", False), getattr(arguments, "strict_model", False))
    if is_new:
        say(f"made a token, which {server_token_file()} keeps: {token}")
    allow_many_connections()
    server = Server(make_app(service, policy), line.stop)
    try:
        await serve(server, listener, line.load)
    finally:
        await engine.close()
        if place.path is not None:
            place.path.unlink(missing_ok=True)


async def _own_tools(arguments: argparse.Namespace, settings: Settings) -> "OwnTools":
    """The tools that are offered, tried once. Raises RequestError for one that can't be used without a person."""
    from app.server.answering import OwnTools, prepared

    names = read_names(arguments.tools) if hasattr(arguments, "tools") else ()
    for name in names:
        if name not in _OWN:
            raise RequestError(f"{name} needs a person at the screen; a server can offer {' and '.join(_OWN)}")
    own = OwnTools(names, settings.permissions, settings.most_calls)
    async with prepared(names, own):
        return own


def _own_names() -> list[str]:
    """What this computer is called by others."""
    name = socket.gethostname()
    return [name, f"{name.partition('.')[0]}.local"]
