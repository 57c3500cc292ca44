"""Which tools a request declares, and which one a call means."""

from typing import Any

import pytest

from mlx_model.errors import RequestError
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, user
from mlx_model.harmony.tools import FunctionTool, Namespace
from mlx_model.request import Request
from mlx_model.tools.base import Output, ToolResult
from mlx_model.tools.toolbox import Toolbox


def weather(city: str) -> str:
    """The weather."""
    return city


def python(code: str) -> str:
    return code


class Python:
    """A builtin tool that is run here."""

    name = "python"
    declaration = "python"
    closed = 0

    async def run(self, call: ToolCall, output: Output, room: int = 0) -> ToolResult:
        return ToolResult(call.arguments["code"])

    async def close(self) -> None:
        self.closed += 1


def calling(recipient: str, text: str = '{"city": "Oslo"}') -> Message:
    return Message(Role.ASSISTANT, text, None, "commentary", recipient)


def test_what_is_offered_is_declared_and_what_is_run_here_is_found() -> None:
    python, other = Python(), FunctionTool("other")
    toolbox = Toolbox([weather, python, "browser", other])
    request = toolbox.request(Request([user("hi")], tools=["x"], functions=[FunctionTool("y")]))
    assert request.tools == ("x", "python", "browser")
    assert [function.name for function in request.functions] == ["y", "weather", "other"]
    assert toolbox.runs
    found = {to: toolbox.read(calling(to)) for to in ("weather", "python3", "browser.search", "functions.other", "no")}
    tools = {to: call and toolbox.tool(call) for to, call in found.items()}
    assert tools["python3"] is python
    assert getattr(tools["weather"], "name", None) == "weather"
    assert [tools[to] for to in ("browser.search", "functions.other", "no")] == [None] * 3
    assert found["no"] is not None and found["no"].error is not None
    assert "Tools: browser.find, browser.open, browser.search, functions.other, functions.weather" in found["no"].error


@pytest.mark.parametrize("offered", [[], ["python"], [FunctionTool("f")]])
def test_what_is_only_declared_is_not_run_here(offered: list[Any]) -> None:
    assert not Toolbox(offered).runs


async def test_a_function_with_a_trained_name_is_declared_as_another_and_called_as_itself() -> None:
    builtin = Python()
    toolbox = Toolbox([python, builtin])
    assert [function.name for function in toolbox.functions] == ["run_python_code"]
    call = toolbox.read(calling("functions.run_python_code", '{"code": "1"}'))
    assert call is not None
    tool = toolbox.tool(call)
    assert tool is not None and tool is not builtin
    assert (tool.name, call.result("x").name) == ("python", "functions.run_python_code")
    assert (await tool.run(call, print)).text == "1"
    trained = toolbox.read(calling("python", "1"))
    assert trained is not None and toolbox.tool(trained) is builtin
    await toolbox.close()
    assert builtin.closed == 1


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        ([weather, weather], "two tools are called 'weather'"),
        ([Python(), "python"], "two tools are called 'python'"),
        ([weather, FunctionTool("weather")], "two tools are called 'weather'"),
        ([7], "'7' is no tool"),
        ([Python], "is no tool"),
    ],
)
def test_what_can_not_be_offered(offered: list[Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Toolbox(offered)


def test_a_namespace_is_declared_and_its_calls_are_the_callers() -> None:
    toolbox = Toolbox([Namespace("agents", (FunctionTool("close"),)), FunctionTool("f")])
    request = toolbox.request(Request([user("Hi")]))
    assert [space.name for space in request.namespaces] == ["agents"]
    assert list(request.every_function) == ["functions.f", "agents.close"]
    call = toolbox.read(Message(Role.ASSISTANT, "{}", None, "commentary", "agents.close", "json"))
    assert call is not None and call.error is None and call.name == "agents.close" and toolbox.tool(call) is None
    assert not toolbox.runs
