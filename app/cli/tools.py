"""`gptoss-chat tools`: prepares the tools of the model's, and says which MCP servers answer."""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.cli.printing import BOLD, DIM, PLAIN, say, shows_styles
from app.lines import counted

if TYPE_CHECKING:
    from app.tools.mcp_servers import ConfiguredServer

_CONNECT_S = 60.0


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "tools",
        help="prepare a tool of the model's: python; or try the MCP servers: mcp",
        description="python: make a Python with the packages that the model's code expects (some 500 MB: ipython, "
        "numpy, pandas, matplotlib, scipy, sympy, pillow), or bring them up to date; without it the code runs in the "
        "Python of gptoss-chat. mcp: connect to each MCP server of the file mcp.json beside the settings, and list "
        "its tools.",
    )
    parser.add_argument("tool", choices=["python", "mcp"], help="the tool to prepare, or the servers to try")
    parser.set_defaults(run=lambda arguments: prepare() if arguments.tool == "python" else try_servers())


def prepare() -> int:
    """Make the Python, and say where it is; returns 0. Raises ManagedPythonError."""
    from app.tools.managed_python import make

    print(f"The model's code now runs in {make()}.", flush=True)
    return 0


def try_servers() -> int:
    """Print what each MCP server offers, or why it can't be used; returns 1 if one can't, or is configured wrongly."""
    from app.paths import mcp_file
    from app.tools.mcp_servers import read_servers
    from app.tools.names import TOOLS

    configured = read_servers(TOOLS)
    for line in configured.warnings:
        say(line)
    if not configured.servers and not configured.warnings:
        print(f'No MCP server is configured. Write them into {mcp_file()}, as {{"mcpServers": {{...}}}}.')
    return max([bool(configured.warnings), *asyncio.run(_try_all(configured.servers.values()))])


async def _try_all(servers: "Iterable[ConfiguredServer]") -> list[int]:
    """All at once; the lines of each come together, in the order in which they are ready."""
    return await asyncio.gather(*map(_try, servers))


async def _try(server: "ConfiguredServer") -> int:
    from app.paths import mcp_log, work_folder
    from app.tools.mcp_kit import McpKit

    kit = McpKit(server, work_folder("tools"), _CONNECT_S)
    started = time.monotonic()
    try:
        await kit.prepare()
    finally:
        seconds = time.monotonic() - started
        await kit.close()
    bold, dim, plain = (BOLD, DIM, PLAIN) if shows_styles(sys.stdout) else ("", "", "")
    lines = [f"{bold}{kit.name}{plain}  {server.place}"]
    if kit.trouble:
        log = mcp_log(kit.name)
        lines += [f"  can't be used: {kit.trouble}", *([f"  its log: {log}"] if log.exists() else [])]
    else:
        count = counted(len(kit.tools), "tool")
        lines.append(f"  ready after {seconds:.1f} s; {count}, about {kit.tokens:,} tokens")
        lines += [f"  note: {note}" for note in kit.notes]
        width = max((len(tool.name) for tool in kit.tools), default=0)
        for tool in kit.tools:
            about = f"{tool.declared.tokens:>5,} tokens  {tool.declaration.description[:60]}"
            lines.append(f"  {tool.name:<{width}} {dim}{about}{plain}")
    print("\n".join(lines), flush=True)
    return int(bool(kit.trouble))
