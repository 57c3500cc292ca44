"""The MCP servers that a person has configured: the file mcp.json, in the form that other programs have, too.

{"mcpServers": {
    "git": {"command": "uvx", "args": ["mcp-server-git"], "env": {"TOKEN": "${GIT_TOKEN}"}, "cwd": "~/code"},
    "wiki": {"url": "https://mcp.example.com/mcp", "headers": {"Authorization": "Bearer ${WIKI_TOKEN}"},
             "timeout": 30, "tools": ["search"]}
}}

`timeout` (seconds of a call) and `tools` (those that the model may call) are of this program; what other programs have
besides is left alone, "disabled" aside.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.paths import mcp_file
from metal.files import expanded, parse_json, read_small
from mlx_model.tools.mcp import Http, Stdio
from mlx_model.tools.mcp.server import TIMEOUT_S

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_WORDS = ("on", "off", "all", "none")  # of commands, where a server's name may stand
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_LONGEST_TIMEOUT_S = 3_600
_HTTP_TYPES = ("http", "streamable-http", "streamablehttp")


@dataclass(frozen=True, slots=True)
class ConfiguredServer:
    """One server. `unset` are the variables of the environment that it names and that aren't there."""

    name: str
    endpoint: Stdio | Http
    timeout_s: float = TIMEOUT_S
    tools: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it is, in a few words without what may be secret: arguments, the query of an address."""
        if isinstance(self.endpoint, Stdio):
            return f"the program {Path(self.endpoint.command).name}"
        return f"at {urlsplit(self.endpoint.url).hostname}"


@dataclass(frozen=True, slots=True)
class ConfiguredServers:
    """The servers by their names, in lower case, and `warnings`: lines for the person about what makes no sense."""

    servers: Mapping[str, ConfiguredServer]
    warnings: tuple[str, ...] = ()


class _Wrong(Exception):
    """What is wrong with a server, with the place inside it."""


def read_servers(
    taken: Mapping[str, Any], path: Path | None = None, environment: Mapping[str, str] = os.environ
) -> ConfiguredServers:
    """The servers of the file; none if there is no file. Never raises: what can't be used costs a warning, and the
    rest stays. No server may have one of the names that are `taken`."""
    path = path or mcp_file()
    try:
        content = parse_json(read_small(path))
    except (FileNotFoundError, NotADirectoryError):
        return ConfiguredServers({})
    except OSError as error:
        return ConfiguredServers({}, (f"{path} can't be read: {error.strerror}; no MCP server is there to use",))
    except ValueError as error:
        return ConfiguredServers({}, (f"{path} is not valid JSON: {error}; no MCP server is there to use",))
    entries = content.get("mcpServers") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        return ConfiguredServers({}, (f'{path} has no object "mcpServers"; no MCP server is there to use',))
    servers, warnings = dict[str, ConfiguredServer](), list[str]()
    for name, entry in entries.items():
        try:
            if isinstance(entry, dict) and entry.get("disabled") is True:
                continue
            server = _server(name, entry, environment)
            if server.name in (*taken, *servers, *_WORDS):
                raise _Wrong(": the name is taken; choose another one")
            servers[server.name] = server
        except _Wrong as wrong:
            warnings.append(f"{path}: mcpServers.{name[:40]}{wrong}; this server can't be used")
    return ConfiguredServers(servers, tuple(warnings))


def _server(name: str, entry: Any, environment: Mapping[str, str]) -> ConfiguredServer:
    if not _NAME.fullmatch(name.lower()):
        raise _Wrong(": a name has letters, digits, - _ and dots, at most 32")
    if not isinstance(entry, dict):
        raise _Wrong(f" is {_shown(entry)}; it must be an object")
    reader = _EntryReader(entry, environment)
    server = ConfiguredServer(name.lower(), reader.endpoint(), reader.timeout_s(), reader.texts("tools"))
    return replace(server, unset=tuple(dict.fromkeys(reader.unset)))


class _EntryReader:
    """Reads one server, and notes the variables that aren't set. Its methods raise _Wrong."""

    def __init__(self, entry: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.unset: list[str] = []
        self._entry = entry
        self._environment = environment

    def endpoint(self) -> Stdio | Http:
        kind = str(self._entry.get("type", "")).lower()
        if kind == "sse":
            raise _Wrong('.type is "sse", the older transport, which is not supported; use its streamable HTTP address')
        if ("command" in self._entry) == ("url" in self._entry):
            raise _Wrong(' must have either "command" or "url"')
        if "url" in self._entry:
            if kind not in ("", *_HTTP_TYPES):
                raise _Wrong(f'.type is {_shown(self._entry["type"])}; with "url" it must be "http"')
            url = self.text("url")
            if not _is_address(url):
                raise _Wrong(f".url is {_shown(url)}; it must be an address that begins with https:// or http://")
            return Http(url, self.mapping("headers"))
        if kind not in ("", "stdio"):
            raise _Wrong(f'.type is {_shown(self._entry["type"])}; with "command" it must be "stdio"')
        cwd = self.path("cwd") if "cwd" in self._entry else None
        return Stdio(str(self.path("command")), self.texts("args"), self.mapping("env"), cwd)

    def timeout_s(self) -> float:
        value = self._entry.get("timeout", TIMEOUT_S)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_TIMEOUT_S:
            raise _Wrong(f".timeout is {_shown(value)}; it must be seconds, at most {_LONGEST_TIMEOUT_S}")
        return float(value)

    def text(self, key: str) -> str:
        value = self._entry.get(key)
        if not isinstance(value, str) or not value.strip():
            raise _Wrong(f".{key} is {_shown(value)}; it must be a text")
        return self._filled(value)

    def path(self, key: str) -> Path:
        try:
            return expanded(self.text(key))
        except OSError as error:
            raise _Wrong(f".{key}: {error.strerror}") from None

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise _Wrong(f".{key} is {_shown(value)}; it must be a list of texts")
        return tuple(map(self._filled, value))

    def mapping(self, key: str) -> dict[str, str]:
        value = self._entry.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise _Wrong(f".{key} must be an object of texts")  # its values may be secrets
        return {name: self._filled(each) for name, each in value.items()}

    def _filled(self, text: str) -> str:
        """With the environment's value for each ${NAME}, or what stands behind :- for one that isn't set."""

        def value(match: re.Match[str]) -> str:
            found = self._environment.get(match[1], match[2])
            if found is None:
                self.unset.append(match[1])
            return found or ""

        return _VARIABLE.sub(value, text)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without their other half, a port that is no number
        return False


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)[:60]
