"""A python tool that is not confined, and cells in it."""

from pathlib import Path

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import ToolResult
from mlx_model.tools.python import Confinement, Python


def a_tool(folder: Path | None, **wishes: object) -> Python:
    return Python(folder, confinement=Confinement.NONE, allow_unconfined=True, **wishes)  # type: ignore[arg-type]


async def run(tool: Python, code: str, shown: list[str] | None = None) -> ToolResult:
    call = ToolCall("python", code, "analysis", {"code": code})
    return await tool.run(call, (shown if shown is not None else []).append)


async def text(tool: Python, code: str) -> str:
    return (await run(tool, code)).text
