"""An MCP server whose tools the model may call: for scripts with `with`, for programs on asyncio with `async with`.

from mlx_model import generate, load
from mlx_model.tools.mcp import McpServer, Stdio

with McpServer("time", Stdio("uvx", ["mcp-server-time"])) as server:
    print(generate(load("gpt-oss-20b"), "What time is it in Oslo?", tools=server.tools).text)
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlx_model.extras import install_line
from mlx_model.tools.base import Output
from mlx_model.tools.mcp.declarations import Declaration, Declarations, declare, described
from mlx_model.tools.mcp.endpoints import Http, McpError, NotCarriedOutError, Stdio
from mlx_model.tools.mcp.tool import McpTool
from mlx_model.tools.sync import wait_for

if TYPE_CHECKING:
    import mcp_types
    from mcp.server import MCPServer, Server

    from mlx_model.tools.mcp.connection import Connection, Listing

TIMEOUT_S = 60.0

_LONGER_S = 1.0


class McpServer:
    """A server by the name under which its tools are declared: `functions.NAME_TOOL`.

    `endpoint` is a program to start, an address, or a server of the SDK's in this process. A call may take `timeout_s`
    seconds. `only` names the tools that are declared, by the server's names for them; without it all are. Pictures and
    other binary content go into `folder`, or nowhere. What a program writes on its standard error goes into `log`.

    It belongs to the event loop on which it was connected. `with` connects it on the loop on which `generate` runs
    tools, `async with` on the running one.
    """

    def __init__(
        self,
        name: str,
        endpoint: Stdio | Http | MCPServer | Server[Any],
        *,
        timeout_s: float = TIMEOUT_S,
        only: Collection[str] = (),
        folder: Path | None = None,
        log: Path | None = None,
    ) -> None:
        self.name = name
        self.declarations = Declarations()
        """What is declared; known when it is connected."""
        self.tools: tuple[McpTool, ...] = ()
        """What the model may call; known when it is connected."""
        self.instructions = ""
        """What the server says of how to use it, as one bounded paragraph; "" for nothing."""
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._only = only
        self._folder = folder
        self._log = log
        self._connection: Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listing: Listing | None = None
        self._is_closed = False
        self._one_at_a_time = asyncio.Lock()

    async def connect(self, within_s: float | None = None) -> None:
        """Connects, or has a server that is connected say anew what it offers.

        Raises McpError. One that isn't ready `within_s` seconds from now goes on, and can be asked for again: it is
        then waited for a moment more.
        """
        self._is_closed = False
        async with self._one_at_a_time:
            await self._connect(within_s)

    async def close(self) -> None:
        """Ends the connection, and the program. May be called twice, and while it is being connected."""
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException as error:
            await self.close()
            if isinstance(error, McpError):
                raise McpError(f"the MCP server {self.name} can't be used: {error}") from None
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        return wait_for(self.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wait_for(self.close())

    async def _connect(self, within_s: float | None) -> None:
        connection = self._connection
        if connection is not None and not connection.is_over and connection.listing.done():
            if listing := await connection.list_anew():
                await self._declare(listing)
            return
        if connection is None or connection.is_over:
            if connection is not None:
                await connection.close()
            try:
                connection_type = await asyncio.to_thread(_load)
            except ImportError:
                raise McpError(f"the SDK for MCP servers is not installed: {install_line('mcp')}") from None
            if self._is_closed:
                raise McpError("it was closed")
            connection = self._connection = connection_type(self._endpoint, self._log)
            self._loop = asyncio.get_running_loop()
        elif within_s is not None:
            within_s = min(within_s, _LONGER_S)
        await asyncio.wait([connection.listing], timeout=within_s)
        if not connection.listing.done():
            raise McpError("it is still starting; try again in a moment")
        await self._declare(connection.listing.result())

    async def _declare(self, listing: Listing) -> None:
        if listing == self._listing:
            return
        # In a thread, for nothing bounds how large the schemas of a server are.
        self.declarations = await asyncio.to_thread(declare, self.name, listing.tools, self._only)
        self.tools = tuple(McpTool(self.name, each, self._call, self._folder) for each in self.declarations.tools)
        self.instructions = described(listing.instructions)
        self._listing = listing

    async def _call(self, declared: Declaration, arguments: dict[str, Any], output: Output) -> mcp_types.CallToolResult:
        if self._loop is not asyncio.get_running_loop():
            raise McpError("it was connected on another event loop; connect it with `with` for generate()")
        for _ in range(2):
            connection = await self._connected(declared)
            with suppress(NotCarriedOutError):
                return await connection.call(declared.original, arguments, self._timeout_s, output)
        raise McpError("it refuses each call as one of an earlier connection")

    async def _connected(self, declared: Declaration) -> Connection:
        """The connection, made again if it has ended. Raises McpError if the tool is then no longer what it was."""
        async with self._one_at_a_time:
            if self._connection is not None and self._connection.is_over:
                await self._connect(self._timeout_s)
                if declared not in self.declarations.tools:
                    raise McpError(
                        "it was started again and this tool has changed, so the call was not carried out; "
                        "the tool is declared anew with the user's next message"
                    )
            if self._connection is None:  # maybe since just now
                raise McpError("it is not connected")
            return self._connection


def _load() -> type[Connection]:
    """Loads the SDK, which takes 1.5 s."""
    from mlx_model.tools.mcp.connection import Connection

    return Connection
