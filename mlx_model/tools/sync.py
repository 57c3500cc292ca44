"""Tools for a script: they run on an event loop in a thread of its own, whatever the script does with its threads."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Generator
from functools import cache

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import ROOM, Tool, ToolResult
from mlx_model.tools.loop import ToolOutput


def run_tool(tool: Tool, call: ToolCall, room: int = ROOM) -> Generator[ToolOutput | ToolResult, None, None]:
    """What the tool writes as it comes, and at the end its result. Closing the iterator cancels the call."""
    pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    running = asyncio.run_coroutine_threadsafe(tool.run(call, pieces.put, room), _loop())
    running.add_done_callback(lambda _: pieces.put(None))
    try:
        while (piece := pieces.get()) is not None:
            yield ToolOutput(call, piece)
        yield running.result()
    finally:
        running.cancel()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for the whole process: what a tool keeps between calls, such as a child process, belongs to its loop."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="tools", daemon=True).start()
    return loop
