"""A python tool that is not confined, and cells in it."""

import asyncio
from pathlib import Path

import psutil

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import ToolResult
from mlx_model.tools.python import Confinement, Python


def a_tool(folder: Path | None, **wishes: object) -> Python:
    return Python(folder, confinement=Confinement.NONE, allow_unconfined=True, **wishes)  # type: ignore[arg-type]


async def run(tool: Python, code: str, shown: list[str] | None = None) -> ToolResult:
    call = ToolCall("python", code, "analysis", {"code": code})
    return await tool.run(call, (shown if shown is not None else []).append)


async def run_briefly(tool: Python, code: str) -> ToolResult:
    """For half a second: too short for other cells on a busy machine."""
    patience, tool._timeout_s = tool._timeout_s, 0.5
    try:
        return await run(tool, code)
    finally:
        tool._timeout_s = patience


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    async with asyncio.timeout(120):
        while psutil.pid_exists(pid):
            await asyncio.sleep(0.01)


async def text(tool: Python, code: str) -> str:
    return (await run(tool, code)).text
