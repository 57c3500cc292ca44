"""OpenAI's Agents SDK: a loop of three calls over both APIs, streamed and not, and an answer of a form."""

from typing import Any

import pytest
from pydantic import BaseModel

from tests.clients.scripts import ANSWER, check_loop, person, three_calls
from tests.fixtures.running_server import RunningServer

agents = pytest.importorskip("agents", reason="openai-agents is in the extra [clients]")


class Person(BaseModel):
    name: str
    age: int


@agents.function_tool  # type: ignore[untyped-decorator,unused-ignore]
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"weather of {city}"


@pytest.fixture(params=["responses", "chat"])
async def model(request: pytest.FixtureRequest, server: RunningServer) -> Any:
    from openai import AsyncOpenAI

    agents.set_tracing_disabled(True)
    kind = agents.OpenAIResponsesModel if request.param == "responses" else agents.OpenAIChatCompletionsModel
    async with AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        yield kind(model="gpt-oss-20b", openai_client=client)


async def test_a_loop(server: RunningServer, model: Any) -> None:
    server.engine.script = three_calls
    agent = agents.Agent(name="Weather", instructions="Be brief.", model=model, tools=[get_weather])
    result = await agents.Runner.run(agent, "The weather in Oslo, Rome and Lima?")
    assert result.final_output == ANSWER
    check_loop(server)
    assert server.engine.asked[0].instructions == "Be brief."


async def test_a_streamed_loop(server: RunningServer, model: Any) -> None:
    server.engine.script = three_calls
    agent = agents.Agent(name="Weather", model=model, tools=[get_weather])
    result = agents.Runner.run_streamed(agent, "The weather in Oslo, Rome and Lima?")
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(deltas) == result.final_output == ANSWER
    check_loop(server)


async def test_a_form(server: RunningServer, model: Any) -> None:
    server.engine.script = person
    agent = agents.Agent(name="Who", model=model, output_type=Person)
    assert (await agents.Runner.run(agent, "Who?")).final_output == Person(name="Ada", age=36)
    (asked,) = server.engine.asked
    assert asked.form is not None and asked.form.strict and asked.response_format is not None
