"""`gptoss-chat tools mcp`: which servers answer, and what they offer."""

import json
import sys
from importlib.util import find_spec

import pytest

from app.cli.main import main
from app.paths import mcp_file
from tests.fixtures import mcp_program


def configure(**servers: object) -> None:
    mcp_file().parent.mkdir(parents=True, exist_ok=True)
    mcp_file().write_text(json.dumps({"mcpServers": servers}))


def test_without_servers_the_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "mcp"]) == 0
    assert f"No MCP server is configured. Write them into {mcp_file()}" in capsys.readouterr().out


@pytest.mark.skipif(find_spec("mcp") is None, reason="the SDK for MCP servers is in the extra [mcp]")
def test_each_server_says_what_it_offers_or_why_it_can_t_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    program = {"command": sys.executable, "args": ["-I", mcp_program.__file__], "tools": ["echo", "fly"]}
    configure(prog=program)
    assert main(["tools", "mcp"]) == 0
    first, ready, note, tool = capsys.readouterr().out.splitlines()
    assert first.startswith("prog  the program python")
    assert ready.startswith("  ready after ") and ready.endswith(" s; 1 tool, about 10 tokens")
    assert (note, tool) == ("  note: it has no tool 'fly'", "  prog_echo    10 tokens  Echo")
    configure(prog=program, lost={"command": "no-such-program"}, odd={"command": 1})
    assert main(["tools", "mcp"]) == 1
    out, err = capsys.readouterr()
    assert "mcpServers.odd.command is 1" in err
    assert "lost  the program no-such-program\n  can't be used: 'no-such-program' can't be started" in out
    assert "prog_echo" in out
