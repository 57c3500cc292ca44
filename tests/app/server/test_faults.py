"""What a server meets: clients that leave, wait and flood it, requests that are none, an engine that dies."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from app.engine.engine import EngineDied, EngineError
from app.engine.protocol import Answer, Load
from app.server.answering import OwnTools, Work
from app.server.declared import Declared
from app.server.line import Line
from mlx_model.events import Finished
from mlx_model.harmony.message import user
from mlx_model.request import Request
from tests.fixtures.running_server import RunningServer, running
from tests.fixtures.scripted_engine import ScriptedEngine, message, says

JSON = {"Content-Type": "application/json"}
RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
BODIES: dict[str, dict[str, Any]] = {
    RESPONSES: {"input": "Hi", "stream": True},
    CHAT: {"messages": [{"role": "user", "content": "Hi"}], "stream": True},
}


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running() as running_server:
        yield running_server


@pytest.fixture(autouse=True)
def fresh(server: RunningServer) -> None:
    server.engine.script = lambda request: says("Hello.")
    server.engine.asked.clear()


def post(
    server: RunningServer, path: str, body: Any, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, bytes]:
    """The status and body of a request of its own connection."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request(method, path, data, {**JSON, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()


def opened(server: RunningServer, path: str, **fields: Any) -> http.client.HTTPConnection:
    """A connection whose request is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("POST", path, json.dumps({**BODIES[path], **fields}).encode(), JSON)
    return connection


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def still_answers(server: RunningServer) -> None:
    """The server is whole, and nobody is left in the line."""
    server.engine.script = lambda request: says("Hello.")
    wait_until(lambda: server.service.line.running == 0)
    status, body = post(server, CHAT, {**BODIES[CHAT], "stream": False})
    assert status == 200 and json.loads(body)["choices"][0]["message"]["content"] == "Hello."


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("said", ["", "Half an answer"])
def test_a_client_that_leaves_ends_its_answer(server: RunningServer, path: str, stream: bool, said: str) -> None:
    server.engine.script = lambda request: [*(message(said)[:-1] if said else []), None]
    given_up = server.engine.given_up
    connection = opened(server, path, stream=stream)
    wait_until(lambda: server.engine.asked)
    if stream and said:
        answered = connection.getresponse()
        while b"Half" not in answered.readline():
            pass
    connection.close()
    wait_until(lambda: server.engine.given_up == given_up + 1)
    still_answers(server)


@pytest.mark.parametrize("path", BODIES)
def test_who_waits_hears_of_it_and_may_leave(server: RunningServer, path: str) -> None:
    server.engine.script = lambda request: [None]
    running_one = opened(server, path)
    wait_until(lambda: server.service.line.running == 1)
    waiting = [opened(server, path), opened(server, path)]
    wait_until(lambda: server.service.line.waiting == 2)
    status, body = post(server, path, BODIES[path])
    assert status == 429 and json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    response = waiting[0].getresponse()
    sign = b'"queue":{"ahead":1}' if path == RESPONSES else b": waiting"
    signs = 0
    while signs < 3:
        signs += sign in response.readline()
    for connection in waiting:
        connection.close()
    wait_until(lambda: server.service.line.waiting == 0)
    assert len(server.engine.asked) == 1  # nothing was computed for them
    running_one.close()
    still_answers(server)


def test_first_come_first_served(server: RunningServer) -> None:
    server.engine.script = lambda request: [None] if request.messages[0].text == "first" else says("x")
    connections = [opened(server, RESPONSES, input="first")]
    wait_until(lambda: server.engine.asked)
    for text in ("second", "third"):
        connections.append(opened(server, RESPONSES, input=text))
        wait_until(lambda: server.service.line.waiting == len(connections) - 1)
    connections[0].close()
    for connection in connections[1:]:
        connection.getresponse().read()
        connection.close()
    assert [request.messages[0].text for request in server.engine.asked] == ["first", "second", "third"]


async def test_a_request_that_ends_before_it_begins_leaves_the_line() -> None:
    line = Line(ScriptedEngine(), Load())
    run = line.join(Work(Request([user("Hi")]), Declared(), OwnTools()))
    run.end()
    assert [event async for event in run.events(1.0)] == []
    async with asyncio.timeout(120):
        while line.running:
            await asyncio.sleep(0)


async def test_a_cancel_before_the_engine_is_asked() -> None:
    engine = ScriptedEngine()
    work = Work(Request([user("Hi")]), Declared(), OwnTools(), choices=3)
    await work.cancel(engine)
    assert [event async for event in work.events(engine)] == [Answer(0, Finished("cancelled"))]
    assert not engine.asked


def test_a_cancel_in_the_line(server: RunningServer) -> None:
    server.engine.script = lambda request: [None]
    running_one = opened(server, RESPONSES)
    wait_until(lambda: server.service.line.running == 1)
    waiting = opened(server, RESPONSES)
    response = waiting.getresponse()
    response.readline()
    id = json.loads(response.readline().removeprefix(b"data: "))["response"]["id"]
    assert post(server, f"{RESPONSES}/{id}/cancel", b"")[0] == 200
    assert b'"status":"cancelled"' in response.read().splitlines()[-2]
    wait_until(lambda: server.service.line.waiting == 0)
    assert server.service.line.running == 1  # the other one goes on
    waiting.close()
    running_one.close()
    still_answers(server)


@pytest.mark.parametrize("path", BODIES)
def test_an_engine_that_dies_ends_the_answer_alone(
    server: RunningServer, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server.engine.script = lambda request: [*message("Half")[:-1], EngineDied("the engine was killed")]
    for stream in (True, False):
        with closing(opened(server, path, stream=stream)) as connection:
            response = connection.getresponse()
            assert response.status == (200 if stream else 500)
            body = response.read()
            assert body.count(b"the engine was killed") == 1
            assert (b"[DONE]" in body) is False
    still_answers(server)
    assert "Traceback" not in capfd.readouterr().err


def test_what_an_engine_refuses_has_the_path_of_its_field(server: RunningServer) -> None:
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    space = {"type": "namespace", "name": "files", "tools": [{"type": "function", **function, "name": "g"}]}
    tools = {
        RESPONSES: [space, {"type": "function", **function}],
        CHAT: [{"type": "custom", "custom": {"name": "x"}}, {"type": "function", "function": function}],
    }
    for about, too_long, params in (
        ("form", False, ("text.format.schema", "response_format.json_schema.schema")),
        ("functions.f", False, ("tools[1].parameters", "tools[1].function.parameters")),
        ("files.g", False, ("tools[0].tools[0].parameters", None)),
        ("", True, ("input", "messages")),
    ):
        refusal = EngineError("it can't be bound", True, too_long, about)
        server.engine.script = lambda request, refusal=refusal: [refusal]  # type: ignore[misc]
        for path, param in zip((RESPONSES, CHAT), params, strict=True):
            status, body = post(server, path, {**BODIES[path], "stream": False, "tools": tools[path]})
            assert (status, json.loads(body)["error"]["param"]) == (400, param)


@pytest.mark.parametrize("path", BODIES)
def test_what_fails_behind_the_end_is_no_second_end(server: RunningServer, path: str) -> None:
    server.engine.script = lambda request: says("Hello.")
    server.engine.closing_error = EngineError("it failed in closing")
    try:
        with closing(opened(server, path)) as connection:
            body = connection.getresponse().read()
        ends = (b"event: response.completed", b"event: response.failed", b"[DONE]", b'data: {"error":{')
        assert sum(map(body.count, ends)) == 1
    finally:
        server.engine.closing_error = None
    still_answers(server)


def test_a_bug_ends_the_answer_alone(server: RunningServer, capfd: pytest.CaptureFixture[str]) -> None:
    server.engine.script = lambda request: [*message("Half")[:-1], ZeroDivisionError()]
    for path in BODIES:
        with closing(opened(server, path)) as connection:
            assert b"the server failed with ZeroDivisionError" in connection.getresponse().read()
    assert "Traceback" in capfd.readouterr().err
    still_answers(server)


NO_BODIES = {
    "nothing": b"",
    "broken": b"{",
    "a list": b"[]",
    "brackets without end": b"[" * 100_000,
    "too deep": b'{"a":' * 200 + b"1" + b"}" * 200,
    "no number": b'{"input": "Hi", "temperature": NaN}',
    "no UTF-8": b'{"input": "\xff"}',
    "too many digits": b'{"input": "Hi", "seed": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", NO_BODIES.values(), ids=NO_BODIES.keys())
def test_bodies_that_are_none(server: RunningServer, body: bytes) -> None:
    status, answer = post(server, RESPONSES, body)
    assert status == 400 and json.loads(answer)["error"]["type"] == "invalid_request_error"


def test_a_lone_surrogate_comes_back_as_it_was(server: RunningServer) -> None:
    status, answer = post(server, RESPONSES, b'{"input": "Hi", "metadata": {"a": "\\ud800 \xc3\xa4"}}')
    assert status == 200 and json.loads(answer)["metadata"] == {"a": "\ud800 \u00e4"}


def test_a_body_that_is_too_long_is_not_waited_for(server: RunningServer) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.putrequest("POST", RESPONSES)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(50 << 20))
        connection.endheaders(b'{"input": "')
        assert connection.getresponse().status == 413


def test_a_body_without_an_end_is_not_kept(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.server.http.MOST_BODY", 2 << 20)
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=120)) as raw:
        raw.sendall(
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk, answer = b"100000\r\n%s\r\n" % (b" " * 0x100000), b""
        raw.settimeout(0.05)  # for an answer, after each chunk
        for _ in range(100):
            with suppress(TimeoutError):
                raw.sendall(chunk)
                answer = raw.recv(4096)
                break
        assert b" 413 " in answer.splitlines()[0]
    still_answers(server)


def test_header_bombs_and_other_noise(server: RunningServer) -> None:
    for noise in (
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(200)),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    ):
        with closing(socket.create_connection(("127.0.0.1", server.port), timeout=120)) as raw:
            try:
                raw.sendall(noise)
                assert raw.recv(100).startswith(b"HTTP/1.1 400")
            except ConnectionError:
                pass
    still_answers(server)


def test_paths_and_methods_that_are_none(server: RunningServer) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", RESPONSES, 405),
        ("DELETE", CHAT, 405),
        ("POST", f"{RESPONSES}/resp_x/cancel", 404),
        ("GET", f"{RESPONSES}/resp_x/input_items", 404),
        ("GET", "/", 404),
        ("GET", "/chat/completions", 404),
    ):
        found, body = post(server, path, b"", method=method)
        error = json.loads(body)["error"]
        assert found == status and error["type"] == "invalid_request_error"
        # A frequent mistake: the base URL without /v1.
        assert "resp_x" in path or "the API is /v1/responses, /v1/chat/completions" in error["message"]


def test_many_idle_connections_keep_nobody_out(server: RunningServer) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=120) for _ in range(100)]
    still_answers(server)
    for each in idle:
        each.close()


def test_health_and_metrics(server: RunningServer) -> None:
    still_answers(server)
    assert post(server, "/health", b"", method="GET") == (200, b'{"status":"ready"}')
    text = post(server, "/metrics", b"", method="GET")[1].decode()
    assert 'gptoss_requests_total{route="/v1/chat/completions",code="200"}' in text
    assert "gptoss_requests_waiting 0" in text and "gptoss_decoded_tokens_total" in text
    assert 'gptoss_time_to_first_token_seconds_bucket{le="+Inf"}' in text


@pytest.mark.parametrize("path", BODIES)
def test_the_end_of_the_server_is_the_end_of_each_stream(path: str) -> None:
    with running() as ending:
        ending.engine.script = lambda request: [*message("Half")[:-1], None]
        connections = [opened(ending, path), opened(ending, path)]
        wait_until(lambda: ending.service.line.waiting == 1)
        responses = [connection.getresponse() for connection in connections]
        ending.stop()
        for response in responses:
            body = response.read()
            assert body.count(b"the server is stopping") == 1 and b"[DONE]" not in body
