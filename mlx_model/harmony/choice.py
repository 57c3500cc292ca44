"""Which tools a request lets the model call, and whether it has to."""

from __future__ import annotations

from dataclasses import dataclass

from mlx_model.errors import RequestError
from mlx_model.harmony.recipients import every_tool
from mlx_model.harmony.tools import FUNCTIONS
from mlx_model.request import Request


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`tools` are the recipients that a call may go to, by full name. Where one is `required` there is no answer."""

    tools: tuple[str, ...]
    required: bool = False

    @property
    def sentence(self) -> str:
        """What the model is told where it has to call: forbidden to answer, it else goes on thinking instead.

        It stays true once the call has been made, since it then stands in the conversation.
        """
        if not self.required:
            return ""
        what = self.tools[0] if len(self.tools) == 1 else "one of the tools"
        return f"Call {what} before you answer."


def tool_choice(request: Request) -> ToolChoice:
    """What the `tool_choice` of a request means. Raises RequestError for a tool that there isn't."""
    choice = request.tool_choice
    tools = tuple(every_tool([*request.tools, *request.every_function]))
    if choice == "auto":
        return ToolChoice(tools)
    if choice == "none":
        return ToolChoice(())
    if choice == "required":
        named = tools
    else:
        # A builtin tool may have several functions: browser.search, browser.open, browser.find.
        named = tuple(
            tool for tool in tools if choice in (tool, tool.removeprefix(f"{FUNCTIONS}."), tool.partition(".")[0])
        )
    if not named:
        there = f"there are {', '.join(tools)}" if tools else "there are no tools"
        raise RequestError(f"the tool choice is {choice!r}, but {there}")
    return ToolChoice(named, required=True)
