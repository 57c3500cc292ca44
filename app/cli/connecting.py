"""--connect: which server answers instead of a model on this computer, and the token that it may want."""

import argparse
import asyncio
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.printing import say
from app.cli.usage import UsageError
from app.settings import Settings
from mlx_model.errors import RequestError

if TYPE_CHECKING:
    from app.remote.address import Address
    from app.remote.connection import Connection
    from app.remote.engine import RemoteEngine

HERE = "none"
"""In place of an address: this computer."""
ASK = "-"
"""In place of a file: the person."""
_OF_A_MODEL_HERE = {
    "dense_bits": "--dense-bits",
    "memory": "--memory",
    "map": "--map",
    "experts": "--experts",
    "adapter": "--adapter",
    "hosts": "--with",
}


def add_server(group: "argparse._ArgumentGroup") -> None:
    """The arguments that say which server answers."""
    group.add_argument(
        "--connect",
        metavar="URL",
        help="use the model of `gptoss-chat serve` on another computer, as in http://mini.local:8080, or of a server "
        f"with OpenAI's Responses API; tools run here (in the settings file: connect; {HERE}: this computer after all)",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help=f'the server\'s token; "{ASK}" asks for it and keeps it (default: $GPTOSS_CHAT_TOKEN, then the kept one)',
    )


def engine_there(arguments: argparse.Namespace, settings: Settings) -> "RemoteEngine | None":
    """The engine of the server that is stated, None if it is a model on this computer. Raises RequestError.

    Where no token is known and the server wants one, the person is asked for it.
    """
    url = getattr(arguments, "connect", settings.connect)
    if url is None or url == HERE:
        if hasattr(arguments, "token_file"):
            raise UsageError("--token-file is for a server: add --connect URL")
        return None
    for name, option in _OF_A_MODEL_HERE.items():
        if hasattr(arguments, name):
            raise UsageError(
                f"{option} is for a model on this computer, and {url} answers; --connect {HERE} changes that"
            )
    from app.remote.address import read_address
    from app.remote.engine import RemoteEngine

    address = read_address(url)
    token, place = _token(address, getattr(arguments, "token_file", None))
    return RemoteEngine(address, token, place)


def _token(address: "Address", file: str | None) -> tuple[str | None, str]:
    """The token, None where the server wants none, and where it comes from. Raises RequestError."""
    from app.paths import tokens_file
    from app.remote.connection import Connection
    from app.remote.token import VARIABLE, kept_token, token_in, token_in_environment

    if file is not None and file != ASK:
        return token_in(Path(file)), file
    if file is None:
        if (token := token_in_environment()) is not None:
            return token, VARIABLE
        if (token := kept_token(address.base)) is not None:
            return token, str(tokens_file())
        if asyncio.run(_is_let_in(Connection(address, None))):
            return None, ""
    return _asked_for(address), str(tokens_file())


def _asked_for(address: "Address") -> str:
    """The token that the person types, once the server takes it; it is kept then."""
    from app.remote.connection import Connection
    from app.remote.token import VARIABLE, checked, keep_token

    if not _has_terminal():
        raise RequestError(f"{address.host} wants a token: give it with --token-file FILE or in {VARIABLE}")
    token = checked(getpass(f"The token of {address.host} (not shown): "), "that line")
    connection = Connection(address, token, "that line")
    if not asyncio.run(_is_let_in(connection)):
        raise RequestError(f"{address.host} refuses this token; `gptoss-chat serve` prints the right one, and its file")
    say(f"the token is kept in {keep_token(address.base, token)}")
    return token


async def _is_let_in(connection: "Connection") -> bool:
    try:
        return await connection.lets_in()
    finally:
        await connection.close()


def _has_terminal() -> bool:
    """Whether there is someone to ask, whatever is piped in."""
    try:
        with Path("/dev/tty").open("rb"):
            return True
    except OSError:
        return False
