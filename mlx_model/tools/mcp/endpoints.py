"""Where an MCP server is: a program to start, or an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlx_model.errors import GptossError


class McpError(GptossError):
    """A server can't be reached, or a call can't be carried out; the text is a clause without the server's name."""


class NotCarriedOutError(McpError):
    """The server had lost its memory of this client and has refused the call, which may be made again."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """A program that is started here and spoken with over its standard input and output.

    It gets `env` besides the few variables that the SDK passes on (HOME, PATH and the like), not the rest of the
    environment, where there may be secrets.
    """

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class Http:
    """A server that is spoken with over streamable HTTP; `headers`, such as a token, go with each request."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
