"""OpenAI's own client against the server: it reads every object and event as OpenAI's models have them."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from app.engine.engine import EngineDied, EngineError
from mlx_model.events import (
    Alternative,
    Event,
    Finished,
    MessageEnd,
    MessageStart,
    TextDelta,
    TokenLogprobs,
    Warned,
)
from mlx_model.harmony.message import Role, assistant
from mlx_model.request import Request
from tests.fixtures.running_server import RunningServer, running
from tests.fixtures.scripted_engine import STATS, call, calls, message, says

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
NESTED: Any = {"type": "function", "function": {key: value for key, value in WEATHER.items() if key != "type"}}
DONE = Finished("stop", STATS)
OSLO = '{"city": "Oslo"}'


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running() as running_server:
        yield running_server


@pytest.fixture
def client(server: RunningServer) -> Iterator[OpenAI]:
    server.engine.asked.clear()
    server.engine.script = lambda request: says("Hello.")
    with OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client


def weather_loop(request: Request) -> list[Event]:
    """Calls the function once, then answers."""
    if request.messages[-1].role is Role.TOOL:
        return says("It rains.", analysis="It said rain.")
    return calls("functions.get_weather", OSLO, analysis="I need the weather.", preamble="Looking.")


def test_a_response(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = lambda request: says("Hello.", analysis="They greet.")
    response = client.responses.create(model="any", input="Hi", instructions="Be brief.", reasoning={"effort": "low"})
    assert response.output_text == "Hello." and response.status == "completed" and response.model == "any"
    reasoning, answer = response.output
    assert reasoning.type == "reasoning" and reasoning.content and reasoning.content[0].text == "They greet."
    assert answer.type == "message" and answer.phase == "final_answer"
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (352, 22, 374)
    assert response.usage.input_tokens_details.cached_tokens == 312
    assert response.usage.output_tokens_details.reasoning_tokens == 9
    asked = server.engine.asked[0]
    assert asked.instructions == "Be brief." and asked.options.effort == "low"


def test_a_streamed_response(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = lambda request: says("Hello, you.", analysis="They greet.")
    with client.responses.stream(model="any", input="Hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == "Hello, you."
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello, you."
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    assert thought == "They greet."


def test_a_loop_of_calls_over_responses(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = weather_loop
    first = client.responses.create(model="any", input="Weather in Oslo?", tools=[WEATHER])
    (called,) = [item for item in first.output if item.type == "function_call"]
    assert (called.name, called.arguments) == ("get_weather", OSLO)
    output: Any = {"type": "function_call_output", "call_id": called.call_id, "output": "rain"}
    second = client.responses.create(model="any", previous_response_id=first.id, input=[output], tools=[WEATHER])
    assert second.output_text == "It rains."
    asked = server.engine.asked[1].messages
    assert [(each.role.value, each.channel, each.text) for each in asked] == [
        ("user", None, "Weather in Oslo?"),
        ("assistant", "analysis", "I need the weather."),
        ("assistant", "commentary", "Looking."),
        ("assistant", "commentary", OSLO),
        ("tool", "commentary", "rain"),
    ]
    # The same, by a client that sends everything again.
    again: Any = [{"role": "user", "content": "Weather in Oslo?"}, *(item.to_dict() for item in first.output), output]
    assert client.responses.create(model="any", input=again, store=False, tools=[WEATHER]).output_text == "It rains."
    assert server.engine.asked[2].messages == asked


def test_a_loop_of_calls_over_chat_completions_gets_its_thought_back(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = weather_loop
    opening: Any = {"role": "user", "content": "Weather in Oslo?"}
    first = client.chat.completions.create(model="any", messages=[opening], tools=[NESTED])
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content == "Looking."
    assert choice.message.model_extra is not None
    assert choice.message.model_extra["reasoning"] == choice.message.model_extra["reasoning_content"]
    assert choice.message.tool_calls and choice.message.tool_calls[0].type == "function"
    assert choice.message.tool_calls[0].function.arguments == OSLO
    # As the Agents SDK does: without the reasoning.
    turn: Any = choice.message.model_dump(include={"role", "content", "tool_calls"})
    result: Any = {"role": "tool", "tool_call_id": choice.message.tool_calls[0].id, "content": "rain"}
    second = client.chat.completions.create(model="any", messages=[opening, turn, result], tools=[NESTED])
    assert second.choices[0].message.content == "It rains."
    assert [each.text for each in server.engine.asked[1].messages] == [
        "Weather in Oslo?", "I need the weather.", "Looking.", OSLO, "rain",
    ]  # fmt: skip
    # A call in another conversation gets nothing of this one's thoughts.
    other: Any = {"role": "user", "content": "Weather in Rome?"}
    client.chat.completions.create(model="any", messages=[other, turn, result], tools=[NESTED])
    assert "I need the weather." not in [each.text for each in server.engine.asked[2].messages]


def test_a_streamed_chat(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = weather_loop
    with client.chat.completions.stream(
        model="any",
        messages=[{"role": "user", "content": "Weather?"}],
        tools=[NESTED],
        stream_options={"include_usage": True},
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.arguments == OSLO
    assert final.usage is not None and final.usage.completion_tokens == 22
    assert final.usage.completion_tokens_details is not None
    assert final.usage.completion_tokens_details.reasoning_tokens == 9


def test_several_choices(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = lambda request: says(f"seed {request.options.seed}")
    messages: Any = [{"role": "user", "content": "Hi"}]
    completion = client.chat.completions.create(model="any", messages=messages, n=3, seed=-1)
    texts = [choice.message.content for choice in completion.choices]
    assert texts == [f"seed {2**64 - 1}", "seed 0", "seed 1"]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (352, 66)
    chunks = list(client.chat.completions.create(model="any", messages=messages, n=2, seed=1, stream=True))
    said = dict.fromkeys(range(2), "")
    for chunk in chunks:
        for each in chunk.choices:
            said[each.index] += each.delta.content or ""
    assert said == {0: "seed 1", 1: "seed 2"}


def test_log_probabilities(server: RunningServer, client: OpenAI) -> None:
    half = TokenLogprobs(Alternative("é".encode()[:1], -0.5), (Alternative(b"e", -1.0),))
    rest = TokenLogprobs(Alternative("é".encode()[1:], float("-inf")))
    delta = TextDelta("final", "é", logprobs=(half, rest))
    server.engine.script = lambda request: [MessageStart("final"), delta, MessageEnd(assistant("é")), DONE]
    messages: Any = [{"role": "user", "content": "Hi"}]
    completion = client.chat.completions.create(model="any", messages=messages, logprobs=True, top_logprobs=1)
    assert completion.choices[0].logprobs is not None and completion.choices[0].logprobs.content is not None
    first, second = completion.choices[0].logprobs.content
    assert (first.logprob, first.bytes, first.top_logprobs[0].token) == (-0.5, [0xC3], "e")
    assert second.logprob == -9999.0
    assert server.engine.asked[0].options.logprobs == 1
    streamed = client.chat.completions.create(model="any", messages=messages, logprobs=True, stream=True)
    found = [chunk.choices[0].logprobs for chunk in streamed]
    assert [each.content for each in found if each is not None] == [[first, second]]
    assert server.engine.asked[1].options.logprobs == 0
    include: Any = ["message.output_text.logprobs"]
    response = client.responses.create(model="any", input="Hi", include=include, top_logprobs=2)
    (item,) = response.output
    assert item.type == "message" and item.content[0].type == "output_text" and item.content[0].logprobs is not None
    assert [each.logprob for each in item.content[0].logprobs] == [-0.5, -9999.0]
    assert server.engine.asked[2].options.logprobs == 2
    server.engine.script = lambda request: says("Hello.")
    plain = client.chat.completions.create(model="any", messages=messages)
    assert plain.choices[0].logprobs is None and server.engine.asked[3].options.logprobs is None
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="any", messages=messages, top_logprobs=1)


def test_a_form_is_shown_and_bound(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = lambda request: says('{"name": "Ada", "age": 36}')
    response = client.responses.parse(model="any", input="Who?", text_format=Person)
    assert response.output_parsed == Person(name="Ada", age=36)
    completion = client.chat.completions.parse(
        model="any", messages=[{"role": "user", "content": "Who?"}], response_format=Person
    )
    assert completion.choices[0].message.parsed == Person(name="Ada", age=36)
    for asked in server.engine.asked:
        assert asked.form is not None and asked.form.schema is not None and asked.form.strict
        assert asked.response_format is not None and asked.response_format.name == "Person"
        assert asked.form.schema["required"] == ["name", "age"]


def test_what_is_stored(server: RunningServer, client: OpenAI) -> None:
    response = client.responses.create(model="any", input="Hi")
    assert client.responses.retrieve(response.id).output_text == "Hello."
    (item,) = client.responses.input_items.list(response.id).data
    assert item.type == "message" and item.role == "user"
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="any", input="Hi", previous_response_id=response.id)
    assert caught.value.code == "previous_response_not_found" and caught.value.param == "previous_response_id"
    unstored = client.responses.create(model="any", input="Hi", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unstored.id)


def test_cancelling_keeps_what_was_said(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = lambda request: [*message("Half an ans")[:-1], None]
    stream = client.responses.create(model="any", input="Hi", stream=True)
    created = next(iter(stream))
    assert created.type == "response.created"
    for event in stream:
        if event.type == "response.output_text.delta":
            assert client.responses.retrieve(created.response.id).status == "in_progress"
            assert client.responses.cancel(created.response.id).status == "cancelled"
            break
    *_, last = stream
    assert last.type == "response.incomplete" and last.response.status == "cancelled"
    assert last.response.output_text == "Half an ans"


def test_failures_of_the_engine(server: RunningServer, client: OpenAI) -> None:
    too_long = EngineError("the prompt has 9,999 tokens, but the context holds 4,096", True, True)
    server.engine.script = lambda request: [too_long]
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="any", input="Hi")
    assert caught.value.code == "context_length_exceeded" and "9,999" in str(caught.value)
    *_, last = client.responses.create(model="any", input="Hi", stream=True)
    assert last.type == "response.failed" and last.response.error is not None
    assert str(last.response.error.code) == "context_length_exceeded"  # Codex knows it, OpenAI's types don't
    loads = server.engine.loads
    server.engine.script = lambda request: [*message("Half")[:-1], EngineDied("the engine was killed")]
    *_, last = client.responses.create(model="any", input="Hi", stream=True)
    assert last.type == "response.failed" and last.response.output[0].type == "message"
    with pytest.raises(openai.APIError, match="was killed"):
        list(client.chat.completions.create(model="any", messages=[{"role": "user", "content": "Hi"}], stream=True))
    server.engine.script = lambda request: says("Back.")
    assert client.responses.create(model="any", input="Hi").output_text == "Back."
    assert server.engine.loads == loads + 2  # anew for each request behind a death


def test_namespaces_and_custom_tools(server: RunningServer, client: OpenAI) -> None:
    patch = "*** Begin Patch\n*** End Patch"
    tools: Any = [
        {"type": "custom", "name": "apply_patch", "description": "Patches", "format": {"type": "text"}},
        {"type": "namespace", "name": "agents", "description": "Others", "tools": [{**WEATHER, "name": "close"}]},
        {"type": "web_search"},
    ]
    server.engine.script = lambda request: calls("functions.apply_patch", json.dumps({"input": patch}))
    first = client.responses.create(model="any", input="Patch it", tools=tools)
    (item,) = first.output
    assert item.type == "custom_tool_call" and item.input == patch
    server.engine.script = lambda request: calls("agents.close", OSLO)
    output: Any = {"type": "custom_tool_call_output", "call_id": item.call_id, "output": "done"}
    second = client.responses.create(model="any", input=[output], previous_response_id=first.id, tools=tools)
    (closing,) = second.output
    assert closing.type == "function_call" and closing.name == "close"
    assert closing.to_dict()["namespace"] == "agents"
    asked = server.engine.asked[1]
    assert [space.name for space in asked.namespaces] == ["agents"] and asked.messages[-1].text == "done"
    assert asked.messages[-2] == call("functions.apply_patch", json.dumps({"input": patch}))
    events = list(client.responses.create(model="any", input="Again", tools=tools, stream=True))
    assert events[-1].type == "response.completed"


def test_models(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "gpt-oss-20b" and model.to_dict()["context_length"] == 4096
    assert client.models.retrieve("gpt-oss-20b").id == "gpt-oss-20b"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5")


def test_an_answer_that_is_continued_is_one_message(
    server: RunningServer, client: OpenAI, capfd: pytest.CaptureFixture[str]
) -> None:
    warned = Warned("a keyword can't be enforced")
    server.engine.script = lambda request: [warned, TextDelta("final", " fox."), MessageEnd(assistant("A fox.")), DONE]
    begun: Any = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "A"}]
    response = client.responses.create(model="any", input=begun)
    assert response.output_text == " fox."
    client.responses.create(model="any", input="More.", previous_response_id=response.id)
    assert [each.text for each in server.engine.asked[1].messages] == ["Hi", "A fox.", "More."]
    assert "a keyword can't be enforced" in capfd.readouterr().err


def test_what_an_owner_withholds() -> None:
    with running(is_strict=True) as strict, OpenAI(base_url=strict.url, api_key="none") as sdk:
        strict.engine.script = lambda request: says("Hello.", analysis="A secret.")
        response = sdk.responses.create(model="gpt-oss-20b", input="Hi")
        assert [item.type for item in response.output] == ["message"] and response.usage is not None
        assert response.usage.output_tokens_details.reasoning_tokens == 9
        messages: Any = [{"role": "user", "content": "Hi"}]
        completion = sdk.chat.completions.create(model="gpt-oss-20b", messages=messages)
        assert "secret" not in completion.to_json()
        for ask in (
            lambda: sdk.responses.create(model="gpt-5", input="Hi"),
            lambda: sdk.chat.completions.create(model="gpt-5", messages=messages),
        ):
            with pytest.raises(openai.NotFoundError) as caught:
                ask()
            assert caught.value.code == "model_not_found" and caught.value.param == "model"


def test_nothing_to_answer(server: RunningServer, client: OpenAI) -> None:
    """What Codex sends to warm a server up."""
    response = client.responses.create(model="any", input="", max_output_tokens=1)
    assert response.status == "completed" and response.output == [] and not server.engine.asked


def test_an_answer_that_is_cut_off(server: RunningServer, client: OpenAI) -> None:
    server.engine.script = lambda request: [*message("I think", "analysis"), Finished("length", STATS)]
    response = client.responses.create(model="any", input="Hi", max_output_tokens=16)
    assert response.status == "incomplete" and response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [item.type for item in response.output] == ["reasoning"]
    messages: Any = [{"role": "user", "content": "Hi"}]
    completion = client.chat.completions.create(model="any", messages=messages, max_tokens=16)
    assert completion.choices[0].finish_reason == "length" and completion.choices[0].message.content == ""
