"""Which computers a model is shared with, and the command that starts a stage on one of them."""

import re
import shlex
from collections.abc import Sequence

from mlx_model.errors import RequestError

_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}@)?[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}", re.ASCII)
"""user@host or a name of ~/.ssh/config. Nothing that ssh, its configuration or a shell would read as anything else."""

_MOST_HOSTS = 8

_OPTIONS = {
    "BatchMode": "yes",  # no question that nobody sees: keys alone
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ClearAllForwardings": "yes",
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    "Compression": "no",
    "EscapeChar": "none",
}

_FOLDERS = '"$HOME/.local/bin:/opt/homebrew/bin:/usr/local/bin:$PATH"'
"""Where `uv tool install` and pipx put programs; a shell without a terminal mostly doesn't know."""

MISSING = 127
"""What a shell ends with that doesn't find a program."""

# In single quotes alone, since the person's shell there may be any.
_THERE = f"sh -c {shlex.quote(f'PATH={_FOLDERS}; export PATH; exec gptoss-stage')}"


def hosts_of(text: str) -> tuple[str, ...]:
    """The computers of "user@mini.local,studio". Raises RequestError for what is no name of one."""
    hosts = tuple(host.strip() for host in text.split(","))
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise RequestError(f"{host[:80]!r} is no computer: write user@host, or a name of ~/.ssh/config")
    if len({*hosts}) < len(hosts):
        raise RequestError("the same computer is named twice")
    if len(hosts) > _MOST_HOSTS:
        raise RequestError(f"{len(hosts)} computers are named; at most {_MOST_HOSTS} can be")
    return hosts


def stage_command(host: str) -> Sequence[str]:
    """What starts a stage on a computer, which then speaks on the command's standard input and output."""
    options = [part for name, value in _OPTIONS.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-T", "-a", "-x", *options, "--", host, _THERE]


def plain(host: str) -> str:
    """A computer as it is spoken of: without its user."""
    return host.rpartition("@")[2]
