"""Times calls of tools without the model: `python -m tests.benchmarks.tools`.

Each row is the median of a few calls, as the model would make them: what is printed is what it waits for besides its
own time. The page comes from a server on this computer, so the network's share is none.
"""

import argparse
import asyncio
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import Tool
from mlx_model.tools.browser import Browser, Fetcher
from mlx_model.tools.mcp import McpServer, Stdio
from mlx_model.tools.python import Python
from tests.fixtures import mcp_program

WORDS = [
    "kernel",
    "thread",
    "memory",
    "buffer",
    "shader",
    "cache",
    "matrix",
    "vector",
    "token",
    "expert",
    "router",
    "attention",
    "window",
    "sink",
]
SIZE = 2_000_000

Rows = list[tuple[str, str]]


def page(size: int = SIZE) -> bytes:
    """A page of so many bytes, about: a menu, and paragraphs with links under headings."""
    dice = random.Random(1)
    parts = [
        "<title>Long</title><nav>",
        *(f'<a href="/n{number}">Menu {number}</a> ' for number in range(40)),
        "</nav>",
    ]
    length = number = 0
    while length < size:
        words = " ".join(dice.choice(WORDS) for _ in range(80))
        parts.append(f'<h2>Section {number}</h2><p>{words} <a href="/s{number}">reference {number}</a>.</p>')
        length, number = length + len(parts[-1]), number + 1
    return "".join(parts).encode()


@contextmanager
def served(content: bytes) -> Iterator[str]:
    """The URL of a server on this computer that has this page alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


async def called(tool: Tool, name: str, **arguments: Any) -> None:
    """Calls a tool, which must succeed."""
    result = await tool.run(ToolCall(name, "", "analysis", arguments), lambda text: None)
    assert not result.error, result.text


async def timed(call: Callable[[], Awaitable[None]], repeats: int) -> str:
    """The median time of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
    return f"{1000 * median(times):,.1f} ms"


async def browser_rows(repeats: int, size: int = SIZE) -> Rows:
    """The browser's calls. A URL that is named is fetched again each time."""
    with served(page(size)) as url:
        browser = Browser(fetcher=Fetcher(allow_hosts=["127.0.0.1"], pause_s=0))
        await called(browser, "browser.open", id=url)  # the libraries are loaded
        return [
            (
                f"open a page of {size / 1e6:g} MB",
                await timed(lambda: called(browser, "browser.open", id=url), repeats),
            ),
            ("scroll in it", await timed(lambda: called(browser, "browser.open", cursor=0, loc=90), repeats)),
            (
                "find in it",
                await timed(lambda: called(browser, "browser.find", cursor=0, pattern="sink sink"), repeats),
            ),
        ]


async def python_rows(repeats: int) -> Rows:
    """The python tool's calls."""

    async def start() -> None:
        python = Python(allow_unconfined=True)
        await called(python, "python", code="1")
        await python.close()

    python = Python(allow_unconfined=True)
    await called(python, "python", code="x = 1")
    try:
        cell = await timed(lambda: called(python, "python", code="x += 1\nx"), repeats)
        return [("python: kernel started, and a cell", await timed(start, repeats)), ("python: a cell", cell)]
    finally:
        await python.close()


async def mcp_rows(repeats: int) -> Rows:
    """Calls of an MCP server that is a small program."""
    program = Stdio(sys.executable, ["-I", mcp_program.__file__])

    async def start() -> None:
        async with McpServer("program", program):
            pass

    async with McpServer("program", program) as server:  # the SDK is loaded
        call = await timed(lambda: called(server.tools[0], "functions.program_echo", word="x"), repeats)
    return [("MCP: server started and its tools listed", await timed(start, repeats)), ("MCP: a call", call)]


async def table(repeats: int, size: int = SIZE) -> Rows:
    """All rows: what is called, and how long it takes."""
    return [*await browser_rows(repeats, size), *await python_rows(repeats), *await mcp_rows(repeats)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5, help="calls of each kind (default: 5)")
    rows = asyncio.run(table(parser.parse_args().repeats))
    width = max(len(name) for name, _ in rows)
    for name, took in rows:
        print(f"{name:{width}}  {took:>12}")


if __name__ == "__main__":
    main()
