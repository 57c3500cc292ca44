"""What the engine brings, as events of both APIs: their order, and that what streams adds up to what is whole."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import pytest

from app.chat.loop import TurnEvent
from app.engine.protocol import Answer
from app.server.chat_completions.reading import read_chat
from app.server.chat_completions.writing import ChatWriter
from app.server.errors import failed
from app.server.responses.reading import read_response
from app.server.responses.writing import ResponseWriter
from app.server.stored import Stored
from app.server.thoughts import Thoughts
from mlx_model.events import Event, Finished, MessageStart, PrefillProgress, Queued, TextDelta
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role
from mlx_model.tools.base import ToolResult
from mlx_model.tools.loop import ToolDenied, ToolEvent, ToolFinished, ToolOutput, ToolStarted
from tests.fixtures.scripted_engine import STATS, call, calls, message, says

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}},
    {"type": "custom", "name": "patch"},
    {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "close"}]},
    {"type": "web_search"},
    {"type": "code_interpreter", "container": {"type": "auto"}},
]
SEARCH = ToolCall("browser.search", '{"query": "cats"}', "analysis", {"query": "cats"})
CELL = ToolCall("python", "print(1)", "analysis", {"code": "print(1)"})
END = Finished("stop", STATS)
CODE = Message(Role.ASSISTANT, "print(1)", None, "analysis", "python", "code")
LOOK = Message(Role.ASSISTANT, '{"query": "cats"}', None, "analysis", "browser.search", "code")

SCRIPTS: dict[str, list[Event | ToolEvent]] = {
    "an answer": [*says("Hello there.", analysis="Hm.")],
    "nothing": [Finished("no_answer", STATS)],
    "empty messages": [*message("", "analysis"), *message(""), END],
    "two thoughts": [*message("One.", "analysis"), *says("Two.", analysis="Three.")],
    "a call": [*calls("functions.f", '{"a": 1}', analysis="Call it.", preamble="I call.")],
    "a call of a namespace": [*calls("agents.close", "{}")],
    "a custom call": [*calls("functions.patch", '{"input": "*** \\"x\\""}')],
    "a custom call without JSON": [*calls("functions.patch", "*** Begin")],
    "a call of nothing known": [*calls("container.exec", "{}")],
    "cut off in a thought": [*message("Hm", "analysis"), Finished("length", STATS)],
    "cut off in a call": [*message(call("functions.f", '{"a')), Finished("length", STATS)],
    "cut off without an end": [*message("Half")[:-1], Finished("length", STATS)],
    "cancelled": [*message("Half")[:-1], Finished("cancelled", STATS)],
    "goes on": [TextDelta("final", "and on"), END],
    "another role's message": [*message("I."), MessageStart("final", role="user"), TextDelta("final", "You."), END],
    "tools of the server": [
        *(PrefillProgress(1, 9), *message("Look.", "analysis"), *message(LOOK), ToolStarted(SEARCH)),
        *(ToolOutput(SEARCH, "..."), ToolFinished(SEARCH, ToolResult("found"))),
        *(*message(CODE), ToolStarted(CELL), ToolFinished(CELL, ToolResult("1"))),
        *(*message(CODE), ToolDenied(CELL, "no")),
        *says("Cats.", analysis="So."),
    ],
    "a tool of the server that is not done": [*message(CODE), ToolStarted(CELL), Finished("cancelled", STATS)],
}


def turn_events(script: Iterable[Event | ToolEvent]) -> Iterator[TurnEvent]:
    for event in script:
        yield event if isinstance(event, ToolEvent) else Answer(1, event)


def response_writer(**fields: Any) -> ResponseWriter:
    body = {"input": "Hi", "tools": TOOLS, "reasoning": {"summary": "auto"}, **fields}
    withholds = body.pop("withholds", False)
    asked = read_response(body, Thoughts(), Stored(), ("browser", "python"))
    return ResponseWriter(asked, 1_700_000_000, withholds_reasoning=withholds)


def response_events(writer: ResponseWriter, script: Iterable[Event | ToolEvent]) -> list[dict[str, Any]]:
    events = writer.opening()
    for event in turn_events(script):
        assert not writer.is_closed
        events += [*writer.take(event), *([] if writer.is_closed else writer.waiting())]
    return events


def check_response(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The events are in an order that clients understand; returns the response."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    types = [event["type"] for event in events]
    assert types[:2] == ["response.created", "response.in_progress"] and types.count("response.created") == 1
    terminal = ("response.completed", "response.incomplete", "response.failed")
    assert [kind in terminal for kind in types].index(True) == len(types) - 1
    last: dict[str, Any] = events[-1]["response"]
    states = ("response.created", "response.in_progress", *terminal)
    assert all(event["response"]["id"] == last["id"] for event in events if event["type"] in states)
    of_items = [event for event in events if event["type"] not in states]
    groups = [[*group] for _, group in groupby(of_items, key=lambda event: event["output_index"])]
    assert [group[0]["output_index"] for group in groups] == list(range(len(last["output"])))
    for group, item in zip(groups, last["output"], strict=True):
        check_item(group, item)
    return last


def check_item(group: list[dict[str, Any]], item: dict[str, Any]) -> None:
    added, *inner, done = group
    assert added["type"] == "response.output_item.added" and added["item"]["status"] == "in_progress"
    assert done["type"] == "response.output_item.done" and done["item"] == item
    assert {event.get("item_id", item["id"]) for event in inner} | {added["item"]["id"]} == {item["id"]}
    names = [event["type"].removeprefix("response.") for event in inner]
    deltas: dict[str, str] = {}
    for name, event in zip(names, inner, strict=True):
        if name.endswith(".delta"):
            deltas[name[:-6]] = deltas.get(name[:-6], "") + event["delta"]
        elif name.endswith(".done") and name[:-5] not in ("content_part", "reasoning_summary_part"):
            key = next(key for key in ("text", "arguments", "input", "code") if key in event)
            assert deltas.get(name[:-5], "") == event[key]
            assert names.index(name) == len(names) - 1 - names[::-1].index(name)
    if item["type"] in ("message", "reasoning"):
        assert names[0] == "content_part.added" and "content_part.done" in names
        (part,) = item["content"]
        assert part["text"] == "".join(deltas.get(key, "") for key in ("output_text", "reasoning_text"))
    elif item["type"] == "function_call":
        assert item["arguments"] == deltas.get("function_call_arguments", "")


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_events_of_a_response(script: list[Event | ToolEvent]) -> None:
    check_response(response_events(response_writer(), script))
    hidden = check_response(response_events(response_writer(withholds=True), script))
    assert not any(item["type"] == "reasoning" for item in hidden["output"])
    for length in range(len(script)):
        writer = response_writer()
        events = response_events(writer, script[:length])
        last = check_response([*events, *writer.fail(failed("It broke."))])
        assert last["status"] == "failed" and last["error"] == {"code": "server_error", "message": "It broke."}


@pytest.mark.parametrize(
    ("script", "status", "items"),
    [
        ("an answer", "completed", ["reasoning", "message"]),
        ("nothing", "completed", []),
        ("a call", "completed", ["reasoning", "message", "function_call"]),
        ("cut off in a call", "incomplete", ["function_call"]),
        ("cancelled", "cancelled", ["message"]),
        ("goes on", "completed", ["message"]),
        ("another role's message", "completed", ["message"]),
        ("a tool of the server that is not done", "cancelled", ["code_interpreter_call"]),
        (
            "tools of the server",
            "completed",
            ["reasoning", "web_search_call", *["code_interpreter_call"] * 2, "reasoning", "message"],
        ),
    ],
)
def test_responses(script: str, status: str, items: list[str]) -> None:
    response = check_response(response_events(response_writer(), SCRIPTS[script]))
    assert response["status"] == status and [item["type"] for item in response["output"]] == items
    whole = status == "completed"
    assert all(item["status"] == "completed" for item in response["output"][: None if whole else -1])
    assert whole or response["output"][-1]["status"] == "incomplete"


def test_items_of_calls() -> None:
    def item(script: str) -> dict[str, Any]:
        response = check_response(response_events(response_writer(), SCRIPTS[script]))
        found: dict[str, Any] = response["output"][-1]
        return found

    assert (item("a call")["name"], "namespace" in item("a call")) == ("f", False)
    assert (item("a call of a namespace")["name"], item("a call of a namespace")["namespace"]) == ("close", "agents")
    assert item("a custom call")["input"] == '*** "x"'
    assert item("a custom call without JSON")["input"] == "*** Begin"
    assert item("a call of nothing known")["name"] == "container.exec"
    tools = check_response(response_events(response_writer(), SCRIPTS["tools of the server"]))["output"]
    assert tools[1]["action"] == {"type": "search", "query": "cats"}
    assert [each["outputs"] for each in tools[2:4]] == [[{"type": "logs", "logs": text}] for text in ("1", "no")]


def test_states_of_a_response() -> None:
    writer = response_writer()
    created, again = writer.opening()
    assert created["response"] == again["response"] == writer.response
    assert (created["response"]["object"], created["response"]["status"]) == ("response", "in_progress")
    assert created["response"]["usage"] is None and created["response"]["output"] == []
    (sign,) = writer.waiting(2)
    assert sign["queue"] == {"ahead": 2} and "prefill" not in sign
    writer.take(Answer(1, Queued(1)))  # the engine's, for want of memory
    (sign,) = writer.waiting()
    assert sign["queue"] == {"ahead": 1}
    writer.take(Answer(1, PrefillProgress(3, 9)))
    (sign,) = writer.waiting()
    assert sign["prefill"] == {"done": 3, "total": 9} and "queue" not in sign
    writer.take(Answer(1, END))
    usage = writer.response["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (352, 22, 374)
    assert usage["input_tokens_details"] == {"cached_tokens": 312, "cache_write_tokens": 0}


def test_a_summary_only_where_it_is_asked_for() -> None:
    (reasoning, _) = check_response(response_events(response_writer(), SCRIPTS["an answer"]))["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Hm."}]
    (reasoning, _) = check_response(response_events(response_writer(reasoning={}), SCRIPTS["an answer"]))["output"]
    assert reasoning["summary"] == []


def chat_writer(withholds: bool = False) -> ChatWriter:
    tools: list[dict[str, Any]] = [
        {"type": "function", "function": {"name": "f"}},
        {"type": "custom", "custom": {"name": "patch"}},
        *({"type": kind} for kind in ("web_search", "code_interpreter")),
    ]
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": tools}
    asked = read_chat(body, Thoughts(), ("browser", "python"))
    return ChatWriter(asked, 1_700_000_000, withholds_reasoning=withholds)


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_chunks_add_up_to_the_completion(script: list[Event | ToolEvent]) -> None:
    writer = chat_writer()
    chunks = writer.opening()
    for event in turn_events(script):
        chunks += [*writer.take(event), *([] if isinstance(event, Answer) else writer.waiting())]
    (choice,) = writer.completion["choices"]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons[:-1] == [None] * (len(reasons) - 1) and reasons[-1] == choice["finish_reason"] is not None
    message: dict[str, Any] = {"content": "", "reasoning": "", "reasoning_content": ""}
    tool_calls: list[dict[str, Any]] = []
    for delta in (chunk["choices"][0]["delta"] for chunk in chunks):
        for key in message:
            message[key] += delta.get(key, "")
        for part in delta.get("tool_calls", []):
            if "id" in part:
                tool_calls.append({key: value for key, value in part.items() if key != "index"})
            else:
                tool_calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    whole = choice["message"]
    assert message["content"] == (whole["content"] or "")
    assert message["reasoning"] == message["reasoning_content"] == whole.get("reasoning", "")
    assert tool_calls == whole.get("tool_calls", [])


def test_completions() -> None:
    def completed(script: str, withholds: bool = False) -> tuple[str, dict[str, Any]]:
        writer = chat_writer(withholds)
        writer.opening()
        for event in turn_events(SCRIPTS[script]):
            writer.take(event)
        (choice,) = writer.completion["choices"]
        return choice["finish_reason"], choice["message"]

    assert completed("two thoughts")[1]["reasoning"] == "One.\n\nThree."
    reason, called = completed("a call")
    assert reason == "tool_calls" and called["content"] == "I call."
    assert called["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert completed("a custom call")[1]["tool_calls"][0]["custom"] == {"name": "patch", "input": '*** "x"'}
    assert completed("a call of a namespace")[1]["content"] is None
    assert completed("cut off in a call")[0] == "length" and completed("nothing")[0] == "stop"
    assert "reasoning" not in completed("an answer", withholds=True)[1]
    assert completed("tools of the server")[1]["content"] == "Cats."
