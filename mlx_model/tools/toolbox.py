"""The tools of a turn: what is declared of them, and which one a call means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall, read_call
from mlx_model.harmony.message import Message
from mlx_model.harmony.tools import FUNCTIONS, FunctionTool, Namespace
from mlx_model.request import Request
from mlx_model.tools.base import Tool

Offered = str | FunctionTool | Namespace | Tool | Callable[..., Any]
"""A tool that is run here, a Python function, or what is only declared: a builtin tool's name, a FunctionTool, a whole
namespace of those."""

# A function with a name that the model knows from its training is called as the tool it knows, not as declared.
_TRAINED = {
    "python": "run_python_code",
    "browser": "web_browser_tool",
    "bash": "run_shell_command",
    "container": "run_in_container",
}


class Toolbox:
    """Which tools the model is offered. Those that can be run here are; the others' calls are the caller's to answer.

    A function named as one that gpt-oss knows from its training is declared under another name, and a call of that is
    a call of the function. Raises RequestError for two tools of one name, or what is no tool.
    """

    def __init__(self, offered: Iterable[Offered] = ()) -> None:
        self.builtins: list[str] = []
        """The builtin tools, as a request names them."""
        self.functions: list[FunctionTool] = []
        """The functions, as a request declares them."""
        self.namespaces: list[Namespace] = []
        """Functions under other names, likewise."""
        self._tools: dict[str, Tool] = {}  # those that are run here, by what they are declared as
        for each in offered:
            self._add(each)

    @property
    def runs(self) -> bool:
        """Whether any of them is run here."""
        return bool(self._tools)

    def request(self, request: Request) -> Request:
        """The request with these tools besides its own."""
        return replace(
            request,
            tools=(*request.tools, *self.builtins),
            functions=(*request.functions, *self.functions),
            namespaces=(*request.namespaces, *self.namespaces),
        )

    def read(self, message: Message) -> ToolCall | None:
        """A message of the model's as a call; see read_call."""
        spaces = [Namespace(FUNCTIONS, tuple(self.functions)), *self.namespaces]
        names = [f"{space.name}.{function.name}" for space in spaces for function in space.functions]
        return read_call(message, [*self.builtins, *names])

    def tool(self, call: ToolCall) -> Tool | None:
        """The tool that answers a call, None where it is the caller's to answer."""
        space, _, rest = call.name.partition(".")
        return self._tools.get(rest if space == FUNCTIONS else space)

    async def close(self) -> None:
        """Ends what the tools hold."""
        for tool in self._tools.values():
            await tool.close()

    def _add(self, offered: Offered) -> None:
        if isinstance(offered, Namespace):
            self.namespaces.append(offered)
            return
        tool = _tool(offered)
        declaration = tool.declaration if isinstance(tool, Tool) else tool
        if isinstance(declaration, FunctionTool) and isinstance(tool, Tool):
            declaration = replace(declaration, name=_TRAINED.get(declaration.name, declaration.name))
        name = declaration if isinstance(declaration, str) else declaration.name
        if name in self.builtins or any(name == function.name for function in self.functions):
            raise RequestError(f"two tools are called {name!r}")
        if isinstance(declaration, str):
            self.builtins.append(declaration)
        else:
            self.functions.append(declaration)
        if isinstance(tool, Tool):
            self._tools[name] = tool


def _tool(offered: Offered) -> str | FunctionTool | Tool:
    if not isinstance(offered, type):  # a class has the methods of a tool, too
        if isinstance(offered, str | FunctionTool | Tool):
            return offered
        if callable(offered):
            from mlx_model.tools.functions import Function  # only now: no tool of the chat's is a plain function

            return Function(offered)
    raise RequestError(f"{str(offered)[:80]!r} is no tool: give a function, a Tool, a FunctionTool or a name")
