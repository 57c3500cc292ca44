"""Requests of both APIs as what the engine is asked, and what is wrong with those that can't be."""

import json
from typing import Any

import pytest

from app.server.chat_completions.reading import AskedChat, read_chat
from app.server.declared import Declared
from app.server.errors import ApiError
from app.server.responses.reading import AskedResponse, read_response
from app.server.stored import Stored
from app.server.thoughts import Thoughts
from mlx_model.harmony.message import Effort, Message, Role, assistant, user
from mlx_model.harmony.prompt import developer_message
from mlx_model.request import Form

FUNCTION: dict[str, Any] = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
NAMESPACE: dict[str, Any] = {"type": "namespace", "name": "agents", "description": "Others.", "tools": [FUNCTION]}
CUSTOM: dict[str, Any] = {"type": "custom", "name": "patch"}
CALL: dict[str, Any] = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
OUTPUT: dict[str, Any] = {"type": "function_call_output", "call_id": "1", "output": "done"}
USER: dict[str, Any] = {"role": "user", "content": "Hi"}
CALLS: dict[str, Any] = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}


def response(**body: Any) -> AskedResponse:
    return read_response({"input": "Hi", **body}, Thoughts(), Stored(), ("browser",))


def chat(**body: Any) -> AskedChat:
    return read_chat({"messages": [USER], **body}, Thoughts(), ("browser",))


def call(name: str, text: str = "{}") -> Message:
    return Message(Role.ASSISTANT, text, None, "commentary", name, "<|constrain|>json")


def result(name: str, text: str) -> Message:
    return Message(Role.TOOL, text, name, "commentary", "assistant")


def test_what_codex_sends() -> None:
    part = {"type": "input_text", "text": "Be brief."}
    asked = response(
        model="gpt-oss-20b",
        input=[
            {"type": "message", "id": "a", "role": "developer", "content": [part, part]},
            {"type": "message", "role": "developer", "content": "And kind."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List files."}]},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "ls"}],
             "encrypted_content": None},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
            {**CALL, "id": "fc", "status": "completed"},
            OUTPUT,
            {"type": "web_search_call", "id": "ws"},
            {"type": "ghost_snapshot", "what": "ever"},
            {"type": "message", "role": "developer", "content": "Careful."},
        ],
        tools=[FUNCTION, NAMESPACE, {"type": "web_search", "external_web_access": True}, {"type": "local_shell"}],
        tool_choice="auto", parallel_tool_calls=True, reasoning={"effort": "xhigh", "summary": "auto"}, store=False,
        stream=True, include=["reasoning.encrypted_content"], prompt_cache_key="k", client_metadata={"a": "b"},
        text={"verbosity": "low"},
    )  # fmt: skip
    request = asked.request
    assert request.instructions == "Be brief.Be brief.\n\nAnd kind."
    assert request.messages == (
        user("List files."),
        assistant("ls", "analysis"),
        assistant("I look.", "commentary"),
        call("functions.f"),
        result("functions.f", "done"),
        developer_message("Careful."),
    )
    assert request.options.effort is Effort.HIGH and asked.is_streamed and not asked.is_stored and asked.wants_summary
    assert [function.name for function in request.functions] == ["f"]
    assert [space.name for space in request.namespaces] == ["agents"]
    assert asked.declared.hosted == ("browser",) and asked.declared.known == {"functions.f", "agents.f", "browser"}
    assert asked.input[0]["id"] == "a" and response(input="Hi").input[0]["content"][0]["text"] == "Hi"
    assert asked.echo["text"] == {"format": {"type": "text"}, "verbosity": "low"}


def test_results_follow_their_calls() -> None:
    second = {**CALL, "call_id": "2", "namespace": "agents"}
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    items = [USER, CALL, second, {**OUTPUT, "call_id": "2", "output": parts}, OUTPUT]
    assert response(input=items).request.messages == (
        *(user("Hi"), call("functions.f"), result("functions.f", "done"), call("agents.f"), result("agents.f", "ab")),
    )
    custom = [USER, {"type": "custom_tool_call", "call_id": "3", "name": "patch", "input": 'a "b"'}]
    custom.append({"type": "custom_tool_call_output", "call_id": "3", "output": "ok"})
    messages = response(input=custom).request.messages
    assert messages[1] == call("functions.patch", '{"input": "a \\"b\\""}') and messages[2].text == "ok"


def test_what_is_said_before_a_call_is_no_answer() -> None:
    said = {"role": "assistant", "content": "I look."}
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}
    for between in ([], [thought], [{"type": "web_search_call"}, CALL, OUTPUT]):
        items = [USER, said, *between, {**CALL, "call_id": "2"}, {**OUTPUT, "call_id": "2"}]
        channel = response(input=items).request.messages[1].channel
        assert channel == ("final" if len(between) == 3 else "commentary")
    phased = {**said, "phase": "commentary"}
    assert response(input=[USER, phased, USER]).request.messages[1].channel == "commentary"


def test_what_a_client_keeps_of_a_thought() -> None:
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}
    assert response(input=[USER, summary, CALL, OUTPUT]).request.messages[1] == assistant("Hm", "analysis")
    both = {**summary, "content": [{"type": "reasoning_text", "text": "Hmm"}]}
    assert response(input=[USER, both, CALL, OUTPUT]).request.messages[1] == assistant("Hmm", "analysis")
    empty = {"role": "assistant", "content": ""}
    assert response(input=[USER, empty, USER]).request.messages == (user("Hi"), user("Hi"))


def test_what_chat_clients_send() -> None:
    custom = {"id": "2", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    asked = chat(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
            {**USER, "name": "ada", "cache_control": {}},
            {**CALLS, "content": None, "reasoning": "Call.", "annotations": [], "audio": None},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "done"}]},
            {"role": "assistant", "content": "Patch.", "tool_calls": [custom]},
            {"role": "tool", "tool_call_id": "2", "content": "ok"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": ""},
            {"role": "system", "content": "Later."},
            USER,
        ],
        tools=[{"type": "function", "function": {**FUNCTION, "strict": True}}],
        max_tokens=5, reasoning_effort="minimal", seed=-1, top_p=0, stop="END", n=2, stream=True, user="me",
        stream_options={"include_usage": True}, service_tier="auto", store=True, metadata={}, logit_bias={},
        presence_penalty=0, web_search_options={},
    )  # fmt: skip
    request = asked.request
    assert request.instructions == "Be brief.\n\nAnd kind."
    assert request.messages == (
        user("Hi"),
        assistant("Call.", "analysis"),
        call("functions.f"),
        result("functions.f", "done"),
        assistant("Patch.", "commentary"),
        call("functions.patch", '{"input": "x"}'),
        result("functions.patch", "ok"),
        assistant("No."),
        developer_message("Later."),
        user("Hi"),
    )
    options = request.options
    assert (options.effort, options.max_tokens, options.seed) == (Effort.LOW, 5, 2**64 - 1)
    assert 0 < options.top_p < 1e-3 and options.stop == ("END",)
    assert asked.choices == 2 and asked.is_streamed and asked.has_usage and asked.declared.hosted == ("browser",)
    assert request.functions[0].strict


def test_what_a_client_says_of_strict_is_passed_on() -> None:
    for fields, strict in (({}, None), ({"strict": None}, None), ({"strict": False}, False), ({"strict": True}, True)):
        flat = response(input="Hi", tools=[{"type": "function", **FUNCTION, **fields}])
        nested = chat(tools=[{"type": "function", "function": {**FUNCTION, **fields}}])
        assert [asked.request.functions[0].strict for asked in (flat, nested)] == [strict, strict]


def test_a_number_with_a_fraction_is_said_as_it_is() -> None:
    with pytest.raises(ApiError, match=r"seed is 1\.5; it must be a whole number"):
        response(input="Hi", seed=1.5)


def test_the_three_places_of_an_effort() -> None:
    assert chat(reasoning={"effort": "high"}).request.options.effort is Effort.HIGH
    assert chat(chat_template_kwargs={"reasoning_effort": "low"}).request.options.effort is Effort.LOW
    assert chat(reasoning_effort="low", reasoning={"effort": "high"}).request.options.effort is Effort.LOW
    assert chat().request.options.effort is Effort.MEDIUM


def test_forms() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "name": "A", "schema": schema, "strict": True, "description": "An A"}
    asked = response(text={"format": form}).request
    assert asked.form == Form(schema=schema) and asked.response_format is not None
    assert (asked.response_format.name, asked.response_format.description) == ("A", "An A")
    inner = {"name": "A", "schema": schema}
    nested = chat(response_format={"type": "json_schema", "json_schema": inner}).request
    assert nested.form == Form(schema=schema, strict=False)
    assert chat(response_format={"type": "json_object"}).request.form == Form(schema={"type": "object"}, strict=False)
    assert chat(response_format={"type": "text"}).request.form is None


@pytest.mark.parametrize(
    ("choice", "functions", "chosen"),
    [
        ("auto", ["f"], "auto"),
        ("required", ["f"], "required"),
        ("none", [], "none"),
        ({"type": "function", "name": "f"}, ["f"], "functions.f"),
        ({"type": "function", "name": "f", "namespace": "agents"}, ["f"], "agents.f"),
        ({"type": "custom", "name": "patch"}, ["f"], "functions.patch"),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}]}, [], "required"),
    ],
)
def test_tool_choice(choice: Any, functions: list[str], chosen: str) -> None:
    asked = response(tools=[FUNCTION, NAMESPACE, CUSTOM], tool_choice=choice)
    assert asked.request.tool_choice == chosen
    names = [function.name for function in asked.request.functions if function.name != "patch"]
    assert names == functions and bool(asked.request.namespaces) == bool(functions)
    assert asked.echo["tool_choice"] == choice


def test_a_choice_of_chat_completions() -> None:
    tools = [{"type": "function", "function": FUNCTION}, {"type": "custom", "custom": CUSTOM}]
    named = chat(tools=tools, tool_choice={"type": "function", "function": {"name": "f"}})
    assert named.request.tool_choice == "functions.f"
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]}
    few = chat(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [function.name for function in few.request.functions] == ["f"]


def test_a_custom_tool_tells_its_grammar() -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    (function,) = response(tools=[{**CUSTOM, "description": "P", "format": form}]).request.functions
    assert function.description == "P\n\nThe input has to match this lark grammar:\nstart: WORD"
    nested = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}}
    (function,) = chat(tools=[{"type": "custom", "custom": {**CUSTOM, "format": nested}}]).request.functions
    assert function.description.endswith("this regex grammar:\na+")


def test_a_call_of_a_tool_that_was_not_declared() -> None:
    declared = Declared()
    assert declared.called("functions.g").name == "g" and declared.called("container.exec").name == "container.exec"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        ({"input": [{"role": "robot", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": ["a"]}]}, "input[0].content[0]"),
        ({"input": [CALL]}, "input[0].call_id"),
        ({"input": [USER, OUTPUT]}, "input[1].call_id"),
        ({"input": [{**CALL, "name": ""}, OUTPUT]}, "input[0].name"),
        ({"input": [CALL, {**OUTPUT, "output": [{"type": "input_image"}]}]}, "input[1].output[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].id"),
        ({"input": "a", "previous_response_id": "x"}, "previous_response_id"),
        ({"input": "a", "background": True}, "background"),
        ({"input": "a", "conversation": "c"}, "conversation"),
        ({"input": "a", "prompt": {"id": "p"}}, "prompt"),
        ({"input": "a", "truncation": "auto"}, "truncation"),
        ({"input": "a", "temperature": "hot"}, "temperature"),
        ({"input": "a", "temperature": -1}, "temperature"),
        ({"input": "a", "temperature": True}, "temperature"),
        ({"input": "a", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "a", "max_output_tokens": 1.5}, "max_output_tokens"),
        ({"input": "a", "reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"input": "a", "reasoning": "high"}, "reasoning"),
        ({"input": "a", "stream": "yes"}, "stream"),
        ({"input": "a", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"input": "a", "text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"input": "a", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "a", "tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"input": "a", "tools": [FUNCTION, FUNCTION]}, "tools[1].name"),
        ({"input": "a", "tools": [{**FUNCTION, "parameters": {"properties": []}}]}, "tools[0].parameters"),
        ({"input": "a", "tools": [{**FUNCTION, "parameters": []}]}, "tools[0].parameters"),
        ({"input": "a", "tools": [{**NAMESPACE, "name": "python"}]}, "tools[0].name"),
        ({"input": "a", "tools": [{**NAMESPACE, "tools": [FUNCTION, FUNCTION]}]}, "tools[0].tools"),
        ({"input": "a", "tool_choice": "required"}, "tool_choice"),
        ({"input": "a", "tool_choice": "sometimes"}, "tool_choice"),
        ({"input": "a", "tool_choice": {"type": "function", "name": "g"}}, "tool_choice.name"),
        ({"input": "a", "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"input": "a", "metadata": 5}, "metadata"),
        ({"input": "a", "stop": ["a"] * 5}, "stop"),
        ({"input": "a", "stop": [""]}, "stop"),
    ],
)
def test_responses_that_can_not_be_asked(body: Any, param: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        read_response(body, Thoughts(), Stored())
    assert caught.value.param == param and caught.value.status in (400, 404)
    assert json.dumps(caught.value.to_json())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "system", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [USER, CALLS]}, "messages[1].tool_calls"),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "1", "content": "a"}]}, "messages[1].role"),
        ({"messages": [USER], "n": 0}, "n"),
        ({"messages": [USER], "n": 17}, "n"),
        ({"messages": [USER], "functions": [{}]}, "functions"),
        ({"messages": [USER], "function_call": "auto"}, "function_call"),
        ({"messages": [USER], "presence_penalty": 0.5}, "presence_penalty"),
        ({"messages": [USER], "frequency_penalty": "a"}, "frequency_penalty"),
        ({"messages": [USER], "logit_bias": {"50256": -100}}, "logit_bias"),
        ({"messages": [USER], "modalities": ["text", "audio"]}, "modalities"),
        ({"messages": [USER], "max_tokens": -1}, "max_tokens"),
        ({"messages": [USER], "max_completion_tokens": "5"}, "max_completion_tokens"),
        ({"messages": [USER], "reasoning_effort": "huge"}, "reasoning_effort"),
        ({"messages": [USER], "tools": [{"type": "function", "name": "f"}]}, "tools[0].function"),
        ({"messages": [USER], "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 5}}},
         "response_format.json_schema.schema"),
    ],
)  # fmt: skip
def test_chats_that_can_not_be_asked(body: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_chat(body, Thoughts())
    assert caught.value.param == param and caught.value.status == 400
