"""Pydantic AI: a loop of three calls over both APIs, streamed and not, and answers of a form in its two ways."""

from typing import Any

import pytest
from pydantic import BaseModel

from tests.clients.scripts import ANSWER, check_loop, person, three_calls
from tests.fixtures.running_server import RunningServer

pydantic_ai = pytest.importorskip("pydantic_ai", reason="pydantic-ai is in the extra [clients]")


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"weather of {city}"


@pytest.fixture(params=["OpenAIResponsesModel", "OpenAIChatModel"])
def model(request: pytest.FixtureRequest, server: RunningServer) -> Any:
    from pydantic_ai.models import openai
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=server.url, api_key="none")
    return getattr(openai, request.param)("gpt-oss-20b", provider=provider)


async def test_a_loop(server: RunningServer, model: Any) -> None:
    server.engine.script = three_calls
    agent = pydantic_ai.Agent(model, tools=[get_weather])
    result = await agent.run("The weather in Oslo, Rome and Lima?")
    assert result.output == ANSWER
    parts = [part for message in result.all_messages() for part in message.parts]
    thoughts = [part for part in parts if part.part_kind == "thinking"]
    # Over Responses it keeps a thought that is no summary among a provider's details.
    raw = (thoughts[-1].provider_details or {}).get("raw_content") or [thoughts[-1].content]
    assert raw == ["I have all three."]
    check_loop(server)


async def test_a_streamed_loop(server: RunningServer, model: Any) -> None:
    server.engine.script = three_calls
    agent = pydantic_ai.Agent(model, tools=[get_weather])
    async with agent.run_stream("The weather in Oslo, Rome and Lima?") as result:
        assert "".join([text async for text in result.stream_text(delta=True, debounce_by=None)]) == ANSWER
    check_loop(server)


@pytest.mark.parametrize("way", ["ToolOutput", "NativeOutput"])
async def test_a_form(server: RunningServer, model: Any, way: str) -> None:
    server.engine.script = person
    agent = pydantic_ai.Agent(model, output_type=getattr(pydantic_ai, way)(Person))
    assert (await agent.run("Who?")).output == Person(name="Ada", age=36)
    (asked,) = server.engine.asked
    if way == "ToolOutput":
        assert asked.tool_choice == "required"
    else:
        assert asked.form is not None and asked.form.schema is not None
