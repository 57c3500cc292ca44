"""Servers of others: the Responses API as vLLM, llama.cpp and Ollama have it, and what is no server at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from app.engine.engine import EngineDied, EngineError
from app.engine.hello import LINES, PATH, own
from app.engine.protocol import Load, Ready
from app.remote import connection
from app.remote.address import read_address
from app.remote.engine import RemoteEngine
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import Message, Role, assistant, system, user
from mlx_model.harmony.tools import FunctionTool, Namespace
from mlx_model.options import Options
from mlx_model.request import Form, Request
from tests.fixtures.canned_server import Canned, CannedServer, canned, stream

MODELS = "GET /v1/models"
RESPONSES = "POST /v1/responses"
JSON = "application/json"
USAGE = {
    "input_tokens": 352,
    "input_tokens_details": {"cached_tokens": 312},
    "output_tokens": 22,
    "output_tokens_details": {"reasoning_tokens": 9},
}


def models(*names: str, **fields: Any) -> Canned:
    data = [{"id": name, "object": "model", **fields} for name in names]
    return 200, JSON, json.dumps({"object": "list", "data": data}).encode()


@pytest.fixture(scope="module")
def running() -> Iterator[CannedServer]:
    with canned() as server:
        yield server


@pytest.fixture
def server(running: CannedServer) -> CannedServer:
    running.answers = {MODELS: models("openai/gpt-oss-20b", max_model_len=32_768)}
    running.asked.clear()
    running.is_hanging = False
    return running


@pytest.fixture
async def engine(server: CannedServer) -> AsyncIterator[RemoteEngine]:
    remote = RemoteEngine(read_address(server.url))
    yield remote
    await remote.close()


async def loaded(engine: RemoteEngine, model: str | None = None) -> Ready:
    (ready,) = [reply async for reply in engine.load(Load(model)) if isinstance(reply, Ready)]
    return ready


async def answered(engine: RemoteEngine, request: Request | None = None) -> list[Event]:
    async with aclosing(engine.ask(request or Request((user("Hi"),)))) as answers:
        return [answer.event async for answer in answers]


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def completed(**fields: Any) -> dict[str, Any]:
    return item("response.completed", response={"status": "completed", "usage": USAGE, **fields})


async def test_what_it_is_and_what_it_can_not(server: CannedServer, engine: RemoteEngine) -> None:
    ready = await loaded(engine)
    assert (ready.model, ready.context_length, engine.context_length) == ("openai/gpt-oss-20b", 32_768, 32_768)
    assert "can't be continued in place" in ready.note
    for refused in (engine.count(["x"]), anext(engine.ask(Request((user("Hi"), assistant("Half")))))):
        with pytest.raises(EngineError, match=r"counts no tokens|go on inside an answer"):
            await refused


async def test_which_of_its_models(server: CannedServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers[MODELS] = models("llama", "gpt-oss:20b", "gpt-oss:120b")
    with pytest.raises(EngineError, match=r"several models.*llama, gpt-oss:20b"):
        await loaded(engine)
    with pytest.raises(EngineError, match="no model 'qwen'"):
        await loaded(engine, "qwen")
    assert (await loaded(engine, "gpt-oss:120b")).context_length == 131_072
    monkeypatch.setattr(connection, "MOST_BODY", 100)
    with pytest.raises(EngineError, match="neither gptoss-chat's"):
        await loaded(engine, "gpt-oss:120b")


async def test_an_answer_as_vllm_streams_it(server: CannedServer, engine: RemoteEngine) -> None:
    server.answers[RESPONSES] = stream(
        item("response.created", response={}),
        item("response.output_item.added", item=item("reasoning", id="rs")),
        item("response.reasoning_text.delta", delta="Let me "),
        item("response.reasoning_text.delta", delta="see."),
        item("response.output_item.done", item=item("reasoning", content=[item("reasoning_text", text="other")])),
        item("response.output_item.added", item=item("message", phase="commentary")),
        item("response.output_text.delta", delta="First this."),
        item("response.output_item.done", item=item("message", phase="commentary")),
        item("response.output_item.added", item=item("message")),
        item("response.output_text.delta", delta="Hello "),
        item("response.output_text.delta", delta="there."),
        item("response.output_item.done", item=item("message")),
        completed(),
    )
    await loaded(engine)
    options = Options(effort="high", temperature=0.5, top_k=7, max_tokens=99)  # type: ignore[arg-type]
    asked = (system("Be brief."), user("Hi"), assistant("old thought", "analysis"), assistant("Yes?"), user("Go"))
    *events, finished = await answered(engine, Request(asked, options, "Rhyme."))
    assert [event.message for event in events if isinstance(event, MessageEnd)] == [
        assistant("Let me see.", "analysis"),
        assistant("First this.", "commentary"),
        assistant("Hello there."),
    ]
    assert "".join(each.text for each in events if isinstance(each, TextDelta)) == "Let me see.First this.Hello there."
    assert isinstance(finished, Finished) and finished.reason == "stop" and finished.stats.ttft_s > 0
    figures = finished.stats
    assert (figures.prefill_tokens, figures.reused_tokens, figures.decode_tokens) == (40, 312, 22)
    (_, body) = server.asked[-1]
    assert body["instructions"] == "Rhyme.\n\nBe brief." and body["reasoning"] == {"effort": "high"}
    assert (body["temperature"], body["top_k"], body["max_output_tokens"], body["stream"]) == (0.5, 7, 99, True)
    assert "min_p" not in body and body["store"] is False and "tools" not in body
    assert [(each["role"], each["content"][0]["text"]) for each in body["input"]] == [
        ("user", "Hi"),
        ("assistant", "Yes?"),
        ("user", "Go"),
    ]


async def test_what_servers_leave_out(server: CannedServer, engine: RemoteEngine) -> None:
    await loaded(engine)
    for events, texts, reason in (
        # Ollama: the thought as a summary, no items.
        (
            [
                item("response.reasoning_summary_text.delta", delta="Hm."),
                item("response.output_text.delta", delta="Yes."),
                completed(),
            ],
            ["Hm.", "Yes."],
            "stop",
        ),
        # Both: the summary of a thought that has come is no second one.
        (
            [
                item("response.reasoning_text.delta", delta="Hm."),
                item("response.reasoning_summary_text.delta", delta="Hm."),
                item("response.incomplete", response={"usage": None}),
            ],
            ["Hm."],
            "length",
        ),
        # Nothing but the end.
        (
            [
                completed(
                    output=[item("message", content=[item("output_text", text="Whole.")]), 7, item("web_search_call")]
                )
            ],
            ["Whole."],
            "stop",
        ),
        (
            [item("response.output_item.added", item=None), {"type": 7}, completed(output="x", usage=[])],
            [],
            "no_answer",
        ),
    ):
        server.answers[RESPONSES] = stream(*events)
        *came, finished = await answered(engine)
        assert [event.message.text for event in came if isinstance(event, MessageEnd)] == texts
        assert isinstance(finished, Finished) and finished.reason == reason


def call(name: str, arguments: str, id: str) -> list[dict[str, Any]]:
    fields = {"call_id": id, "name": name}
    return [
        item("response.output_item.added", item=item("function_call", arguments="", **fields)),
        item("response.function_call_arguments.delta", delta=arguments),
        item("response.output_item.done", item=item("function_call", arguments=arguments, **fields)),
    ]


async def test_calls_and_their_results(server: CannedServer, engine: RemoteEngine) -> None:
    await loaded(engine)
    tools = {
        "tools": ("python", "browser"),
        "functions": (FunctionTool("get.weather", "Weather", {"type": "object", "properties": {}}),),
        "namespaces": (Namespace("mcp", (FunctionTool("read"),)),),
    }
    conversation: list[Message] = [user("Hi")]
    for name, arguments, recipient, text in (
        ("run_python_code", '{"code": "1 + 1"}', "python", "1 + 1"),
        ("run_python_code", "print(1)", "python", "print(1)"),
        ("get_weather", '{"a": 1}', "functions.get.weather", '{"a": 1}'),
        ("mcp__read", "{}", "mcp.read", "{}"),
        ("browser_search", '{"query": "x"}', "browser.search", '{"query": "x"}'),
    ):
        parallel = call("mcp__read", "{}", "second")  # Harmony has one call at a time
        server.answers[RESPONSES] = stream(*call(name, arguments, f"call-{text}"), *parallel, completed())
        *came, finished = await answered(engine, Request(conversation, **tools))  # type: ignore[arg-type]
        (start,) = [event for event in came if isinstance(event, MessageStart)]
        (end,) = [event.message for event in came if isinstance(event, MessageEnd)]
        assert (start.recipient, end.recipient, end.text) == (recipient, recipient, text)
        assert isinstance(finished, Finished) and finished.reason == "tool_call"
        conversation += [end, Message(Role.TOOL, "done", recipient, "commentary", "assistant")]
    last = Request([*conversation, user("And?"), conversation[1], conversation[2]], **tools)  # type: ignore[arg-type]
    await answered(engine, last)
    (_, body) = server.asked[-1]
    names = [tool["name"] for tool in body["tools"]]
    assert names == ["get_weather", "mcp__read", "run_python_code", "browser_search", "browser_open", "browser_find"]
    calls = [each for each in body["input"] if each["type"] == "function_call"]
    results = [each["call_id"] for each in body["input"] if each["type"] == "function_call_output"]
    ids = [each["call_id"] for each in calls]
    assert ids == results and ids[:5] == [f"call-{each.text}" for each in conversation[1::2]] and len({*ids}) == 6
    assert calls[0]["name"] == "run_python_code" and json.loads(calls[0]["arguments"]) == {"code": "1 + 1"}
    assert calls[2] == item("function_call", call_id=ids[2], name="get_weather", arguments='{"a": 1}')


async def test_forms(server: CannedServer, engine: RemoteEngine) -> None:
    await loaded(engine)
    server.answers[RESPONSES] = stream(completed())
    await answered(engine, Request((user("Hi"),), form=Form(schema={"type": "object"})))
    form = server.asked[-1][1]["text"]["format"]
    assert form == {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}
    with pytest.raises(EngineError, match="JSON schemas alone"):
        await answered(engine, Request((user("Hi"),), form=Form(regex="a")))


async def test_failures_in_its_own_words(server: CannedServer, engine: RemoteEngine) -> None:
    await loaded(engine)
    too_long = {"message": "too\x1b[2J long", "code": "context_length_exceeded"}
    for canned_answer, said, flags in (
        (
            (400, JSON, json.dumps({"error": too_long}).encode()),
            "too \u241b\\[2J long|too\u241b\\[2J long",
            (True, True),
        ),
        ((422, JSON, b'{"error": "no such field"}'), "no such field", (True, False)),
        ((404, "text/plain", b"?"), "has no Responses API", (False, False)),
        ((500, "text/html", b"<html>"), "answered with HTTP 500", (False, False)),
        ((307, "text/html", b""), "has moved to https://elsewhere.example/v1", (False, False)),
        (stream(item("response.failed", response={"error": too_long})), "long", (True, True)),
        (stream(item("error", message="gone")), "gone", (False, False)),
    ):
        server.answers[RESPONSES] = canned_answer
        with pytest.raises(EngineError, match=said) as caught:
            await answered(engine)
        assert (caught.value.unusable, caught.value.too_long) == flags and engine.alive
    server.answers[RESPONSES] = stream(item("response.output_text.delta", delta="Half"))
    with pytest.raises(EngineDied, match="broke off the answer"):
        await answered(engine)
    assert not engine.alive


async def test_stopping_ends_an_answer_that_hangs(server: CannedServer, engine: RemoteEngine) -> None:
    server.answers[RESPONSES] = stream(item("response.output_text.delta", delta="Half"))
    await loaded(engine)
    server.is_hanging = True
    events: list[Event] = []
    async with aclosing(engine.ask(Request((user("Hi"),)))) as answers:
        async for answer in answers:
            events.append(answer.event)
            if isinstance(answer.event, TextDelta):
                with pytest.raises(EngineError, match="can't end a thought"):
                    await engine.answer_now()
                engine.stop()  # as in a signal handler
    assert isinstance(events[-1], Finished) and events[-1].reason == "cancelled" and engine.alive


NO_SERVERS: dict[str, tuple[dict[str, Canned], str]] = {
    "a web page": (
        {MODELS: (200, "text/html", b"<html>Welcome</html>")},
        "neither gptoss-chat's protocol nor OpenAI's",
    ),
    "nothing": ({}, "HTTP 404, text/html"),
    "another API": ({MODELS: (200, JSON, b'{"models": []}')}, "neither gptoss-chat's"),
    "a page for everything": (
        {f"POST {PATH}": (200, "text/html", b"<html>"), MODELS: (200, "text/html", b"<html>")},
        "neither gptoss-chat's",
    ),
    "closed": ({f"POST {PATH}": (401, JSON, b"{}")}, "wants a token"),
    "busy": ({f"POST {PATH}": (503, JSON, b'{"error": {"message": "Loading model"}}')}, "Loading model"),
    "no model": ({MODELS: models()}, "has no model"),
    "models without end": ({MODELS: (200, JSON, b"[" + b"1," * 3_000_000 + b"1]")}, "neither gptoss-chat's"),
    "a gptoss-chat that is none": ({f"POST {PATH}": (200, LINES, b"?\n")}, "sent what can't be read"),
    "half a gptoss-chat": ({f"POST {PATH}": (200, LINES, own().line())}, "did not say which model"),
    "nonsense": ({f"POST {PATH}": (200, LINES, own().line() + b'{"type": "Ask"}\n')}, "sent what can't be read"),
    "a line without end": ({f"POST {PATH}": (200, LINES, own().line() + b"x" * 200_000)}, "more than any answer"),
}


@pytest.mark.parametrize(("answers", "said"), NO_SERVERS.values(), ids=NO_SERVERS.keys())
async def test_no_server(
    server: CannedServer,
    engine: RemoteEngine,
    answers: dict[str, Canned],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "MOST_LINE", 100_000)
    server.answers = answers
    with pytest.raises((EngineError, EngineDied), match=said):
        await loaded(engine)
    assert not engine.alive


async def test_silence_is_the_end(server: CannedServer, engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.remote.own.SILENCE_S", 0.05)
    server.answers[f"POST {PATH}"] = (200, LINES, own().line())
    server.is_hanging = True
    with pytest.raises(EngineDied, match="nothing comes any more"):
        await asyncio.wait_for(loaded(engine), 120)
