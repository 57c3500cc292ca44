"""Tools for a script: they run on an event loop in a thread of its own, whatever the script does with its threads."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine, Generator
from functools import cache
from typing import Any, TypeVar

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import ROOM, Tool, ToolResult, bounded, crashed
from mlx_model.tools.loop import ToolOutput

_T = TypeVar("_T")

_beginning = threading.Lock()


def wait_for(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Runs it on the loop of the tools to its end. Ctrl-C cancels it."""
    running = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return running.result()
    finally:
        running.cancel()


def run_tool(tool: Tool, call: ToolCall, room: int = ROOM) -> Generator[ToolOutput | ToolResult, None, None]:
    """What the tool writes as it comes, and at the end its result. Closing the iterator cancels the call."""
    pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    running = asyncio.run_coroutine_threadsafe(tool.run(call, bounded(pieces.put), room), _loop())
    running.add_done_callback(lambda _: pieces.put(None))
    try:
        while (piece := pieces.get()) is not None:
            yield ToolOutput(call, piece)
        error = running.exception()
        yield running.result() if error is None else crashed(error)
    finally:
        running.cancel()


def _loop() -> asyncio.AbstractEventLoop:
    """One for the whole process: what a tool keeps between calls, such as a child process, belongs to its loop."""
    with _beginning:
        return _begun()


@cache
def _begun() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="tools", daemon=True).start()
    return loop
