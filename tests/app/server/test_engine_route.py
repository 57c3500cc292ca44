"""POST /v1/engine against clients that are none: bodies, versions, other clients' answers, a line that is full."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from app.engine.hello import LINES, PATH, Hello, own
from app.engine.protocol import Answer, AnswerNow, Ask, Cancel, Count, Counted, Ready, ToEngine, decode, encode
from mlx_model.events import Finished
from mlx_model.harmony.message import user
from mlx_model.request import Request
from tests.fixtures.running_server import RunningServer, running
from tests.fixtures.scripted_engine import STATS, message, says

ASK = Ask(7, Request((user("Hi"),)))


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running() as running_server:
        yield running_server


def post(server: RunningServer, body: bytes, kind: str = LINES) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("POST", PATH, body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read()


def tell(server: RunningServer, request: ToEngine, client: str = "me") -> list[object]:
    """What is answered to a request, without the greeting and the signs of life."""
    status, body = post(server, own(client).line() + encode(request))
    greeting, *lines = body.splitlines()
    assert status == 200 and Hello.of(greeting).protocol == own().protocol
    return [decode(line) for line in lines if line]


def tokens(metrics: str) -> int:
    (line,) = (line for line in metrics.splitlines() if line.startswith("gptoss_decoded_tokens_total "))
    return int(line.split()[1])


NO_REQUESTS = {
    "nothing": b"",
    "a greeting alone": own().line(),
    "no greeting": encode(ASK) + encode(ASK),
    "a reply": own().line() + encode(Counted(1, (2,))),
    "brackets": own().line() + b"[" * 100_000,
    "no request of ours": own().line()
    + b'{"type":"Ask","number":1,"request":{"type":"Request","fields":{"messages":7}}}\n',
    "no number": own().line() + b'{"type":"Cancel","number":-1}\n',
    "a list": b"[]\n[]\n",
}


@pytest.mark.parametrize("body", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
def test_bodies_that_are_none(server: RunningServer, body: bytes) -> None:
    status, answer = post(server, body)
    assert status == 400 and json.loads(answer)["error"]["type"] == "invalid_request_error"


def test_a_page_of_another_site_can_not_send_one(server: RunningServer) -> None:
    assert post(server, own().line() + encode(ASK), "text/plain")[0] == 415


def test_another_version_gets_a_greeting_and_nothing_else(server: RunningServer) -> None:
    status, answer = post(server, replace(own(), protocol="older").line() + b'{"type": "Whatever"}\n')
    assert status == 409 and answer == own().line()


def test_an_answer_has_the_clients_number(server: RunningServer) -> None:
    server.engine.script = lambda request: says("Hello.")
    before = server.service.metrics.text(0, 0)
    ready, *answers = tell(server, ASK)
    assert tokens(server.service.metrics.text(0, 0)) == tokens(before) + STATS.decode_tokens
    assert isinstance(ready, Ready)
    assert all(isinstance(answer, Answer) and answer.number == 7 for answer in answers)
    assert tell(server, Count(8, ("four",))) == [Counted(8, (4,))]


def test_a_client_ends_its_own_answers_alone(server: RunningServer) -> None:
    server.engine.script = lambda request: [*message("Half")[:-1], None]
    hurried = server.engine.hurried
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("POST", PATH, own("me").line() + encode(ASK), {"Content-Type": LINES})
        response = connection.getresponse()
        while b"Half" not in response.readline():
            pass
        for request in (Cancel(7), AnswerNow(7)):
            assert tell(server, request, "another") == []
        with pytest.raises(AssertionError):  # a 400: this number is under way
            tell(server, ASK)
        assert server.service.line.running == 1 and server.engine.hurried == hurried
        tell(server, AnswerNow(7))
        tell(server, Cancel(7))
        last = decode(response.read().splitlines()[-1])
    assert isinstance(last.event, Finished) and last.event.reason == "cancelled"
    assert server.engine.hurried == hurried + 1


def test_who_waits_may_be_hurried_and_cancelled_and_a_full_line_says_so(server: RunningServer) -> None:
    server.engine.script = lambda request: [None]
    hurried = server.engine.hurried
    connections = []
    for number in (1, 2, 3):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        connection.request(
            "POST", PATH, own("me").line() + encode(replace(ASK, number=number)), {"Content-Type": LINES}
        )
        connections.append(connection.getresponse())
        deadline = time.monotonic() + 120
        while server.service.line.running + server.service.line.waiting < number and time.monotonic() < deadline:
            time.sleep(0.005)
    assert post(server, own("me").line() + encode(ASK))[0] == 429
    server.engine.script = lambda request: says("Hello.")
    for request in (AnswerNow(2), Cancel(3), Cancel(1)):
        tell(server, request)
    ends = [decode(response.read().splitlines()[-1]).event.reason for response in connections]
    assert ends == ["cancelled", "stop", "cancelled"] and server.engine.hurried == hurried + 1


def test_thoughts_that_are_withheld_close_the_route() -> None:
    with running(is_strict=True) as strict:
        assert post(strict, own().line() + encode(ASK))[0] == 404
