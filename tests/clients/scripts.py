"""What the model of these tests says: it calls a function three times, thinking before each call, then answers."""

from itertools import pairwise

from app.engine.protocol import Ready
from app.server.clients import configurations
from mlx_model.events import Event
from mlx_model.harmony.message import Message, Role
from mlx_model.request import Request
from tests.fixtures.running_server import RunningServer
from tests.fixtures.scripted_engine import calls, says

CITIES = ("Oslo", "Rome", "Lima")
THOUGHTS = tuple(f"Now {city}." for city in CITIES)
ANSWER = "Rain, sun and fog."
PERSON = '{"name": "Ada", "age": 36}'


def three_calls(request: Request) -> list[Event]:
    """The weather of three cities, one call a request; then the answer."""
    done = len(results(request))
    if done == len(CITIES):
        return says(ANSWER, analysis="I have all three.")
    return calls("functions.get_weather", f'{{"city": "{CITIES[done]}"}}', analysis=THOUGHTS[done])


def person(request: Request) -> list[Event]:
    """An object, as the answer or as the arguments of the one function that takes it."""
    if request.form is None and request.functions:
        return calls(f"functions.{request.functions[0].name}", PERSON)
    return says(PERSON, analysis="Ada Lovelace.")


def results(request: Request) -> list[Message]:
    """The results of calls in a request."""
    return [message for message in request.messages if message.role is Role.TOOL]


def check_loop(server: RunningServer, *, shows_results: bool = True) -> None:
    """Each request of the turn goes on where the one before and its answer ended, whatever the client has dropped: so
    the KV cache holds all but the result of the last call. The last one has each thought, call and result in its place.
    """
    asked = [request.messages for request in server.engine.asked]
    assert len(asked) == len(CITIES) + 1
    for before, after in pairwise(asked):
        assert after[: len(before)] == before and len(after) == len(before) + 3
    turn = asked[-1][len(asked[0]) :]
    assert [message.text for message in turn[::3]] == [*THOUGHTS]
    assert {message.channel for message in turn[::3]} == {"analysis"}
    for city, call, result in zip(CITIES, turn[1::3], turn[2::3], strict=True):
        assert call.calls_tool and city in call.text
        assert result.role is Role.TOOL
        assert not shows_results or f"weather of {city}" in result.text


def configuration(server: RunningServer, program: str) -> str:
    """What `gptoss-chat serve` prints for a program."""
    ready: Ready | None = server.service.line.ready
    assert ready is not None
    text = configurations(server.url, ready.model, ready.context_length, None)
    blocks: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.startswith(" "):
            blocks[name := line] = []
        else:
            blocks[name].append(line.removeprefix("  "))
    return "\n".join(blocks[program]) + "\n"
