"""Tools that the server runs itself: asked for by the client, allowed by the owner, decided on by rules alone."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from app.engine.protocol import Load
from app.server.answering import OwnTools, prepared
from app.server.chat_completions.reading import read_chat
from app.server.exchange import ChatExchange, ResponseExchange, Service, read_through
from app.server.line import Line
from app.server.responses.reading import read_response
from app.tools.permission import Decision, Wish
from mlx_model.errors import RequestError
from mlx_model.events import Event
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role
from mlx_model.request import Request
from mlx_model.tools.base import ROOM, Output, ToolResult
from tests.fixtures.scripted_engine import STATS, ScriptedEngine, calls, message, says

CELL = Message(Role.ASSISTANT, "print(6 * 7)", None, "analysis", "python", "code")
TOOLS: list[dict[str, Any]] = [
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "function", "name": "f"},
]


class Tool:
    name = declaration = "python"

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.runs = 0

    async def run(self, call: ToolCall, output: Output, room: int = ROOM) -> ToolResult:
        self.runs += 1
        self.began.set()
        await self.go.wait()
        return ToolResult("42")

    async def close(self) -> None: ...


class Kit:
    name, instructions, state, subjects = "python", "There is no network.", "confined", ("python",)

    def __init__(self) -> None:
        self.tool = Tool()
        self.tools = (self.tool,)
        self.trouble = ""
        self.default = Decision.ALLOW
        self.closed = 0

    async def prepare(self) -> None: ...

    async def wish(self, call: ToolCall) -> Wish:
        return Wish(("python",), self.default, "why", call.text)

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Kit:
    kit = Kit()

    def kits_of(names: Sequence[str], conversation: str, *, is_kept: bool) -> list[Kit]:
        assert tuple(names) == ("python",) and not is_kept
        return [kit]

    monkeypatch.setattr("app.server.answering.kits_of", kits_of)
    return kit


def script(request: Request) -> list[Event]:
    """A cell, a call of the client's function, an answer."""
    results = sum(each.role is Role.TOOL for each in request.messages)
    if results == 0:
        thought = message("Compute.", "analysis")
        return [*thought, *message(CELL), *calls("functions.f", "{}")[-1:]]
    return calls("functions.f", '{"a": 42}') if results == 1 else says("It is 42.")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(script)


@pytest.fixture
def service(engine: ScriptedEngine, kit: Kit) -> Service:
    return Service(Line(engine, Load()), OwnTools(("python",)))


async def respond(service: Service, **body: Any) -> dict[str, Any]:
    asked = read_response({"tools": TOOLS, **body}, service.thoughts, service.stored, service.own.names)
    exchange = ResponseExchange(service, asked)
    await read_through(exchange.stream())
    return exchange.writer.response


async def test_a_turn_with_a_tool_of_the_server_and_one_of_the_client(
    service: Service, engine: ScriptedEngine, kit: Kit
) -> None:
    items: list[Any] = [{"role": "user", "content": "6 * 7?"}]
    response = await respond(service, input=items)
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["reasoning", "code_interpreter_call", "function_call"] and kit.closed == 1
    assert response["output"][1]["code"] == CELL.text and response["output"][1]["outputs"][0]["logs"] == "42"
    assert response["usage"]["output_tokens"] == 2 * STATS.decode_tokens
    first, second = engine.asked
    assert first.tools == ("python",) and [each.name for each in first.functions] == ["f"]
    assert first.instructions == "There is no network."
    assert [each.text for each in second.messages] == ["6 * 7?", "Compute.", CELL.text, "42"]
    # The client sends back what it has a use for; what the server ran comes back with the call.
    output = {"type": "function_call_output", "call_id": response["output"][2]["call_id"], "output": "ok"}
    answered = await respond(service, input=[*items, response["output"][2], output])
    assert answered["output"][0]["content"][0]["text"] == "It is 42." and kit.tool.runs == 1
    texts = [each.text for each in engine.asked[2].messages]
    assert texts == ["6 * 7?", "Compute.", CELL.text, "42", '{"a": 42}', "ok"]


async def test_over_chat_completions_they_stay_inside(service: Service) -> None:
    tools = [TOOLS[0], {"type": "function", "function": {"name": "f"}}]
    body = {"messages": [{"role": "user", "content": "6 * 7?"}], "tools": tools}
    exchange = ChatExchange(service, read_chat(body, service.thoughts, service.own.names))
    await read_through(exchange.stream())
    (choice,) = exchange.writer.completion["choices"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["f"]


async def test_nobody_is_asked(service: Service, engine: ScriptedEngine, kit: Kit) -> None:
    kit.default = Decision.ASK
    response = await respond(service, input="6 * 7?")
    assert kit.tool.runs == 0 and response["status"] == "completed"
    assert "nobody is there to be asked" in engine.asked[1].messages[-1].text


async def test_one_that_the_owner_does_not_allow_is_not_offered(engine: ScriptedEngine, kit: Kit) -> None:
    service = Service(Line(engine, Load()))
    await respond(service, input="6 * 7?")
    assert engine.asked[0].tools == () and kit.closed == 0


async def test_one_that_can_not_be_used(service: Service, kit: Kit) -> None:
    kit.trouble = "there is no Python"
    response = await respond(service, input="6 * 7?")
    assert response["status"] == "failed" and "there is no Python" in response["error"]["message"]
    with pytest.raises(RequestError, match="python can't be offered by a server here: there is no Python"):
        async with prepared(("python",), OwnTools()):
            pass


async def test_a_cancel_while_a_tool_runs(service: Service, kit: Kit) -> None:
    kit.tool.go.clear()
    asked = read_response({"tools": TOOLS, "input": "6 * 7?"}, service.thoughts, service.stored, ("python",))
    exchange = ResponseExchange(service, asked)
    reading = asyncio.create_task(read_through(exchange.stream()))
    await kit.tool.began.wait()
    await exchange.run.cancel()
    await reading
    response = exchange.writer.response
    assert response["status"] == "cancelled" and kit.closed == 1
    assert json.loads(json.dumps(response))["output"][1]["type"] == "code_interpreter_call"


async def test_a_cancel_while_the_tools_get_ready(
    service: Service, engine: ScriptedEngine, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_preparing, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        is_preparing.set()
        await go_on.wait()

    monkeypatch.setattr(kit, "prepare", slowly)
    answering = asyncio.create_task(respond(service, input="6 * 7?"))
    await is_preparing.wait()
    (exchange,) = service.active.values()
    await exchange.run.cancel()
    go_on.set()
    response = await answering
    assert (response["status"], response["output"], engine.asked) == ("cancelled", [], [])
    assert kit.closed == 1


async def test_a_client_that_leaves_while_a_tool_runs(service: Service, kit: Kit) -> None:
    kit.tool.go.clear()
    asked = read_response({"tools": TOOLS, "input": "6 * 7?"}, service.thoughts, service.stored, ("python",))
    exchange = ResponseExchange(service, asked)
    reading = asyncio.create_task(read_through(exchange.stream()))
    await kit.tool.began.wait()
    reading.cancel()
    async with asyncio.timeout(120):
        while service.line.running:
            await asyncio.sleep(0)
    assert kit.closed == 1 and not service.active
