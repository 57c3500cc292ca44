"""Which tools a person can switch on: the program's own, and the MCP servers that they have configured."""

import re

from mlx_model.errors import RequestError

TOOLS = {"python": "runs the model's Python code, in a sandbox without network where there is one"}
"""What can be switched on, and what it does."""


def available() -> dict[str, str]:
    """What can be switched on here, and what it does: TOOLS, and the person's MCP servers."""
    from app.tools.mcp_servers import read_servers  # only now: most starts need none of it

    servers = read_servers(TOOLS).servers.values()
    return TOOLS | {server.name: f"the tools of an MCP server: {server.place}" for server in servers}


def read_names(text: str) -> tuple[str, ...]:
    """Names with commas or spaces between. Raises RequestError for one that no tool has, or without any."""
    names = tuple(dict.fromkeys(text.replace(",", " ").lower().split()))
    if not names:
        raise RequestError(f"name the tools to switch on; there is: {', '.join(available())}")
    if any(name not in TOOLS for name in names):
        there = available()
        if unknown := [name for name in names if name not in there]:
            raise RequestError(f"there is no tool {unknown[0][:40]!r}; there is: {', '.join(there)}{_why(unknown[0])}")
    return names


def _why(name: str) -> str:
    """What is wrong with the MCP server of this name, or with the file that would have it; "" for nothing."""
    from app.tools.mcp_servers import read_servers

    place = re.compile(rf"mcpServers\.{re.escape(name)}[.: ]", re.IGNORECASE)
    about = [line for line in read_servers(TOOLS).warnings if place.search(line) or "mcpServers." not in line]
    return f". {about[0]}" if about else ""
