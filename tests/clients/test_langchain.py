"""LangChain: a loop of three calls over both APIs, a stream, and an answer of a form."""

from typing import Any

import pytest
from pydantic import BaseModel

from tests.clients.scripts import ANSWER, CITIES, check_loop, person, three_calls
from tests.fixtures.running_server import RunningServer

langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is in the extra [clients]")


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"weather of {city}"


@pytest.fixture(params=[True, False], ids=["responses", "chat"])
def model(request: pytest.FixtureRequest, server: RunningServer) -> Any:
    return langchain_openai.ChatOpenAI(
        base_url=server.url,
        api_key="none",
        model="gpt-oss-20b",
        use_responses_api=request.param,
        max_retries=0,
        stream_usage=True,  # which it asks OpenAI alone for by itself
    )


def test_a_loop(server: RunningServer, model: Any) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage

    server.engine.script = three_calls
    bound = model.bind_tools([get_weather])
    messages: list[Any] = [HumanMessage("The weather in Oslo, Rome and Lima?")]
    for _ in CITIES:
        messages.append(bound.invoke(messages))
        (call,) = messages[-1].tool_calls
        messages.append(ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"]))
    assert bound.invoke(messages).text == ANSWER
    check_loop(server)


def test_a_stream(server: RunningServer, model: Any) -> None:
    server.engine.script = three_calls
    whole = None
    for chunk in model.bind_tools([get_weather]).stream("The weather in Oslo?"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and whole.tool_calls[0]["args"] == {"city": "Oslo"}
    assert whole.usage_metadata["input_tokens"] == 352
    assert whole.usage_metadata["input_token_details"]["cache_read"] == 312


def test_a_form(server: RunningServer, model: Any) -> None:
    server.engine.script = person
    assert model.with_structured_output(Person, method="json_schema").invoke("Who?") == Person(name="Ada", age=36)
    (asked,) = server.engine.asked
    assert asked.form is not None and asked.form.schema is not None
