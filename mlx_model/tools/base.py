"""What a tool is: a declaration for the prompt, and something that runs a call and never raises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.tools import FunctionTool

Output = Callable[[str], None]
"""Takes what a tool writes while it runs, piece by piece, to be shown; the model gets the result's text alone."""

ROOM = 4_000
"""Tokens that a result may take where nothing says otherwise."""
CHARACTERS_A_TOKEN = 4
"""Of prose and code, about."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call. `text` goes to the model. The rest is for people: whether it failed, the files that it
    wrote, how long it took in seconds, and in a few words what came of it ("8 results")."""

    text: str
    error: bool = False
    files: tuple[Path, ...] = ()
    seconds: float = 0.0
    outcome: str = ""


def shortened(text: str, room: int = ROOM) -> str:
    """A text as the model gets it in a `room` of so many tokens: of one that is too long the beginning and the end,
    and how much is left out."""
    most = CHARACTERS_A_TOKEN * room
    if len(text) <= most:
        return text
    first, last = most * 7 // 10, most * 3 // 10
    return f"{text[:first]}\n[... {len(text) - first - last:,} characters left out ...]\n{text[-last:]}"


@runtime_checkable
class Tool(Protocol):
    """A tool of the model's. It runs in this process's event loop, or in a child of this process."""

    @property
    def name(self) -> str:
        """The builtin tool, "python" or "browser", or the name of a function, without its namespace."""
        ...

    @property
    def declaration(self) -> str | FunctionTool:
        """What the prompt declares: a builtin tool by its name, since the model knows its text, or a function."""
        ...

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        """Carries out a call that was read without an error; the text of its result takes about `room` tokens at most.

        Raises nothing but CancelledError: what goes wrong is a result with `error`, worded for the model.
        """
        ...

    async def close(self) -> None:
        """Ends what it holds: processes, connections. It may be called twice, and nothing runs after it."""
        ...
