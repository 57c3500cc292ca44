"""The file of MCP servers: what is read of it, and what is said of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.paths import mcp_file
from app.tools.mcp_servers import ConfiguredServer, ConfiguredServers, read_servers
from app.tools.names import TOOLS, available, read_names
from mlx_model.errors import RequestError
from mlx_model.tools.mcp import Http, Stdio

HOME = {"TOKEN": "secret", "EMPTY": ""}


def read(servers: Any, text: str = "") -> ConfiguredServers:
    path = mcp_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or json.dumps({"mcpServers": servers}))
    return read_servers(TOOLS, environment=HOME)


def only(entry: Any) -> ConfiguredServer:
    found = read({"s": entry})
    assert found.warnings == ()
    return found.servers["s"]


def test_programs_and_addresses_are_read_as_people_have_them() -> None:
    program = {"command": "npx", "args": ["-y", "x"], "env": {"A": "1"}, "cwd": "/tmp", "alwaysAllow": ["write"]}
    assert only(program) == ConfiguredServer("s", Stdio("npx", ("-y", "x"), {"A": "1"}, Path("/tmp")))
    address = {"type": "streamable-http", "url": "https://e.org/mcp?key=1", "headers": {"B": "2"}}
    assert only(address) == ConfiguredServer("s", Http("https://e.org/mcp?key=1", {"B": "2"}))
    limits = only({"command": "/usr/bin/x", "type": "stdio", "timeout": 5, "tools": ["read"]})
    assert (limits.timeout_s, limits.tools) == (5.0, ("read",))
    assert (limits.place, only(address).place) == ("the program x", "at e.org")
    home = only({"command": "~/x", "cwd": "~"})
    assert home.endpoint == Stdio(str(Path.home() / "x"), cwd=Path.home())


def test_variables_of_the_environment_are_filled_in_and_those_that_are_not_set_are_named() -> None:
    texts = {"A": "Bearer ${TOKEN}", "B": "${NO:-b}${EMPTY:-c}", "C": "${NO_A}${NO_B} ${NO_A}", "D": "$TOKEN ${} ${"}
    server = only({"url": "https://${NO_C:-e.org}/", "headers": texts})
    filled = {"A": "Bearer secret", "B": "b", "C": " ", "D": "$TOKEN ${} ${"}
    assert server.endpoint == Http("https://e.org/", filled)
    assert server.unset == ("NO_A", "NO_B")
    assert only({"command": "x", "args": ["${TOKEN}"]}).endpoint == Stdio("x", ("secret",))


def test_what_is_disabled_or_not_there_needs_no_words(home: Path) -> None:
    assert read_servers(TOOLS) == ConfiguredServers({})
    assert read({"s": {"command": "x", "disabled": True}}) == ConfiguredServers({})
    assert list(read({"s": {"command": 1, "disabled": True}, "t": {"command": "x"}}).servers) == ["t"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (7, " is 7; it must be an object"),
        ({}, ' must have either "command" or "url"'),
        ({"command": "x", "url": "https://e.org"}, ' must have either "command" or "url"'),
        ({"command": ""}, ".command is ''; it must be a text"),
        ({"command": ["npx"]}, ".command is ['npx']; it must be a text"),
        ({"command": "x", "args": "-y"}, ".args is '-y'; it must be a list of texts"),
        ({"command": "x", "args": [1]}, ".args is [1]; it must be a list of texts"),
        ({"command": "x", "env": {"KEY": 1}}, ".env must be an object of texts"),
        ({"command": "x", "type": "http"}, '.type is \'http\'; with "command" it must be "stdio"'),
        ({"url": "e.org/mcp"}, ".url is 'e.org/mcp'; it must be an address that begins with https:// or http://"),
        ({"url": "http://[::1/mcp"}, ".url is 'http://[::1/mcp'; it must be an address"),
        ({"url": "http://e.org:x/"}, ".url is 'http://e.org:x/'; it must be an address"),
        ({"url": "https:///mcp"}, ".url is 'https:///mcp'; it must be an address"),
        ({"url": "https://e.org", "type": "stdio"}, '.type is \'stdio\'; with "url" it must be "http"'),
        ({"url": "https://e.org", "type": "sse"}, '.type is "sse", the older transport, which is not supported'),
        ({"command": "x", "timeout": 60_000}, ".timeout is 60000; it must be seconds, at most 3600"),
        ({"command": "x", "timeout": True}, ".timeout is True; it must be seconds, at most 3600"),
        ({"command": "x", "cwd": "~nobody-here"}, ".cwd: this computer has no home for ~nobody-here"),
        ({"command": "x", "tools": "all"}, ".tools is 'all'; it must be a list of texts"),
    ],
)
def test_what_makes_no_sense_is_one_line_with_its_place_and_the_others_stay(entry: Any, words: str) -> None:
    found = read({"bad": entry, "good": {"command": "x"}})
    assert list(found.servers) == ["good"]
    (line,) = found.warnings
    assert line.startswith(f"{mcp_file()}: mcpServers.bad{words}") and line.endswith("; this server can't be used")


def test_names_can_be_typed_and_are_distinct() -> None:
    program = {"command": "x"}
    names = ("Git.Hub-2", "git.hub-2", "python", "Off", "my server", "")
    found = read(dict.fromkeys(names, program))
    assert list(found.servers) == ["git.hub-2"]
    assert [line.count("the name is taken") for line in found.warnings] == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
        ("[" * 99, "is not valid JSON: "),
        ("[]", 'has no object "mcpServers"'),
        ('{"mcpServers": []}', 'has no object "mcpServers"'),
    ],
)
def test_a_file_that_can_t_be_used_is_one_line(text: str, words: str) -> None:
    found = read({}, text)
    assert found.servers == {} and len(found.warnings) == 1
    assert found.warnings[0].startswith(f"{mcp_file()} {words}")


def test_a_file_that_can_t_be_read_is_one_line() -> None:
    mcp_file().mkdir(parents=True)
    assert "mcp.json can't be read: it is a folder" in read_servers(TOOLS).warnings[0]


def test_a_server_is_switched_on_by_its_name() -> None:
    read({"Wiki": {"url": "https://e.org/mcp"}})
    assert available() == TOOLS | {"wiki": "the tools of an MCP server: at e.org"}
    assert read_names("python, WIKI") == ("python", "wiki")
    with pytest.raises(RequestError, match=r"there is no tool 'wik'; there is: .*python, .*wiki"):
        read_names("wik")
    read({"wiki": {"url": "ftp://e.org"}})
    with pytest.raises(RequestError, match=r"there is: .*python.*\. .*mcp.json: mcpServers.wiki.url is 'ftp:"):
        read_names("wiki")
    with pytest.raises(RequestError, match=r"python[\w, ]*$"):
        read_names("wik")
    read({}, "{")
    with pytest.raises(RequestError, match=r"mcp.json is not valid JSON"):
        read_names("wiki")
