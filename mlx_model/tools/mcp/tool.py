"""A tool of an MCP server, as the loop of a turn runs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.tools import FunctionTool
from mlx_model.tools.base import ROOM, Output, ToolResult, shortened
from mlx_model.tools.mcp.declarations import Declaration
from mlx_model.tools.mcp.endpoints import McpError
from mlx_model.tools.mcp.results import read_result

if TYPE_CHECKING:
    import mcp_types

Ask = Callable[[Declaration, dict[str, Any], Output], Awaitable["mcp_types.CallToolResult"]]
"""Has the server carry out a call, and what it says of its progress shown. Raises McpError."""


class McpTool:
    """One of a server's tools. It holds nothing: the connection is its server's."""

    def __init__(self, server: str, declared: Declaration, ask: Ask, folder: Path | None) -> None:
        self.server = server
        self.declared = declared
        self._ask = ask
        self._folder = folder

    @property
    def name(self) -> str:
        """SERVER_TOOL, of letters, digits and underscores."""
        return self.declared.function.name

    @property
    def declaration(self) -> FunctionTool:
        """See Tool."""
        return self.declared.function

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        """See Tool. What the server says of its progress goes to `output`."""
        started = time.monotonic()
        try:
            result = await self._ask(self.declared, call.arguments, output)
        except McpError as error:
            why = str(error).rstrip(".")
            text = f"Error: {self.server}: {why}."
            return ToolResult(text, error=True, seconds=time.monotonic() - started, outcome=why)
        read = await asyncio.to_thread(read_result, result, self._folder, self.declared.original)
        failed = bool(result.is_error)
        return ToolResult(
            shortened(read.text, room),
            error=failed,
            files=tuple(read.files),
            seconds=time.monotonic() - started,
            outcome="" if failed else read.outcome,
        )

    async def close(self) -> None:
        """See Tool. There is nothing to end."""
