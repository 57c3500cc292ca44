"""The turn as a state machine: rounds, results, repeated calls, limits, figures."""

from collections.abc import Sequence

import pytest

from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.options import Options
from mlx_model.request import Request
from mlx_model.tools.base import ToolResult
from mlx_model.tools.loop import ToolTurn
from mlx_model.tools.toolbox import Toolbox

THOUGHT, ANSWER = assistant("hm", "analysis"), assistant("It rains.")
ROUND = Stats(10, 0, 5, ttft_s=1.0, prefill_s=1.0, decode_s=0.5, peak_memory_bytes=7, seed=42)


def weather(city: str = "") -> str:
    return city


def other(a: int = 0) -> None: ...


def calling(text: str = '{"city": "Oslo"}', recipient: str = "functions.weather") -> Message:
    return Message(Role.ASSISTANT, text, None, "commentary", recipient, "json")


def turn_of(*messages: Message, most_calls: int = 40, **options: int) -> ToolTurn:
    request = Request(messages or [user("q")], Options(**options))  # type: ignore[arg-type]
    return ToolTurn(Toolbox([weather, other, "browser"]), request, most_calls=most_calls)


def round_of(
    turn: ToolTurn, *messages: Message, reason: str = "tool_call", stats: Stats = ROUND
) -> ToolCall | Finished:
    """The model writes these messages, and stops."""
    for message in messages:
        turn.take(MessageEnd(message))
    turn.take(Finished(reason, stats))
    return turn.next()


def call_of(turn: ToolTurn, message: Message) -> ToolCall:
    call = round_of(turn, message)
    assert isinstance(call, ToolCall)
    return call


def test_a_call_its_result_and_the_answer() -> None:
    turn = turn_of()
    assert [function.name for function in turn.request.functions] == ["weather", "other"]
    call = round_of(turn, THOUGHT, calling())
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments) == ("functions.weather", {"city": "Oslo"})
    assert turn.known_result(call) is None
    turn.answer(call, ToolResult("rain"))
    result = Message(Role.TOOL, "rain", "functions.weather", "commentary", "assistant")
    assert turn.request.messages == (user("q"), THOUGHT, calling(), result)
    assert [function.name for function in turn.request.functions] == ["weather", "other"]
    # The next round reads what the first left in the cache.
    end = round_of(turn, ANSWER, reason="stop", stats=Stats(4, 15, 3, ttft_s=0.2, prefill_s=0.2, decode_s=0.3, seed=42))
    assert end == Finished(
        "stop", Stats(14, 0, 8, ttft_s=1.0, prefill_s=1.2, decode_s=0.8, peak_memory_bytes=7, seed=42)
    )


def test_a_round_sees_the_seed_of_the_first_and_what_is_left_of_the_tokens() -> None:
    turn = turn_of(max_tokens=12)
    for left in (7, 2):
        turn.answer(call_of(turn, calling(f'{{"city": "{left}"}}')), ToolResult("rain"))
        assert turn.request.options == Options(seed=42, max_tokens=left)
    end = round_of(turn, calling())
    assert isinstance(end, Finished)
    assert (end.reason, end.stats.decode_tokens) == ("length", 15)


@pytest.mark.parametrize("reason", ["stop", "length", "cancelled", "no_answer", "stop_string"])
def test_a_round_that_does_not_end_in_a_call_ends_the_turn(reason: str) -> None:
    """Nor is a call run that was cut off."""
    assert round_of(turn_of(), calling(), reason=reason) == Finished(reason, ROUND)


@pytest.mark.parametrize(
    ("offered", "message"),
    [([], calling()), (["browser"], calling()), ([weather, "browser"], calling(recipient="open"))],
)
def test_a_call_that_is_the_callers_ends_the_turn(offered: Sequence[object], message: Message) -> None:
    turn = ToolTurn(Toolbox(offered), Request([user("q")]))  # type: ignore[arg-type]
    assert round_of(turn, message) == Finished("tool_call", ROUND)


@pytest.mark.parametrize("message", [calling("{"), calling(recipient="container.exec")])
def test_a_call_that_can_not_be_read_is_answered_without_a_tool(message: Message) -> None:
    turn = turn_of()
    call = call_of(turn, message)
    result = turn.known_result(call)
    assert result is not None and result.error
    assert result.text == call.error
    turn.answer(call, result)
    assert turn.request.messages[-1].text == call.error


def test_the_same_call_again_is_answered_from_memory_and_the_fourth_ends_the_turn() -> None:
    turn, texts = turn_of(), list[str]()
    for number in range(3):
        # Spelt in another way it is still the same call.
        call = call_of(turn, calling('{"city": "Oslo", "n": 1}' if number % 2 else '{"n":1,"city":"Oslo"}'))
        known = turn.known_result(call)
        turn.answer(call, known or ToolResult("rain"))
        texts.append(turn.request.messages[-1].text)
    hint = "You have this result already: the same call was made just before. Use it, or call something else."
    assert texts == ["rain", f"{hint}\n\nrain", f"{hint}\n\nrain"]
    end = round_of(turn, calling('{"n": 1, "city": "Oslo"}'))
    assert isinstance(end, Finished) and end.reason == "tool_limit"
    assert [message.text for message in turn.request.messages if message.role is Role.TOOL] == texts


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        pytest.param(calling(), calling('{"city": "Rome"}'), ToolResult("a"), id="other arguments"),
        pytest.param(calling('{"a": 1}'), calling('{"a": 1}', "functions.other"), ToolResult("a"), id="other tool"),
        pytest.param(calling(), calling(), ToolResult("a", error=True), id="after an error"),
        pytest.param(calling("{}"), calling("{}"), ToolResult("a"), id="no arguments: dice, the time"),
    ],
)
def test_a_call_that_may_have_another_result_is_run(first: Message, second: Message, result: ToolResult) -> None:
    turn = turn_of()
    turn.answer(call_of(turn, first), result)
    assert turn.known_result(call_of(turn, second)) is None


def test_a_call_after_another_is_new() -> None:
    turn = turn_of()
    for city in "abab":
        call = call_of(turn, calling(f'{{"city": "{city}"}}'))
        assert turn.known_result(call) is None
        turn.answer(call, ToolResult("rain"))


def test_python_is_run_again_since_its_state_may_have_changed() -> None:
    class Python:
        name = declaration = "python"

        async def run(self, call: ToolCall, output: object, room: int = 0) -> ToolResult:
            return ToolResult("")

        async def close(self) -> None: ...

    turn = ToolTurn(Toolbox([Python()]), Request([user("q")]))
    for _ in range(3):
        call = call_of(turn, calling("next(it)", "python"))
        assert turn.known_result(call) is None
        turn.answer(call, ToolResult("1"))
    end = round_of(turn, calling("next(it)", "python"))
    assert isinstance(end, Finished) and end.reason == "tool_limit"


def test_a_turn_has_so_many_calls() -> None:
    turn = turn_of(most_calls=2)
    for city in "ab":
        turn.answer(call_of(turn, calling(f'{{"city": "{city}"}}')), ToolResult("rain"))
    end = round_of(turn, calling('{"city": "c"}'))
    assert isinstance(end, Finished)
    assert (end.reason, end.stats.decode_tokens) == ("tool_limit", 15)


def test_a_call_that_is_denied_is_told_and_asked_again_it_is_not_run_from_memory() -> None:
    turn = turn_of()
    turn.deny(call_of(turn, calling()), "No.")
    assert turn.request.messages[-1] == Message(Role.TOOL, "No.", "functions.weather", "commentary", "assistant")
    assert turn.known_result(call_of(turn, calling())) is None


def test_a_message_that_was_cut_off_is_continued_once() -> None:
    half = calling('{"city": ')
    turn = turn_of(user("q"), half)
    events: list[Event] = [TextDelta("commentary", '"Oslo"}', "functions.weather"), MessageEnd(calling())]
    for event in events:
        turn.take(event)
    turn.take(Finished("tool_call", ROUND))
    call = turn.next()
    assert isinstance(call, ToolCall)
    turn.answer(call, ToolResult("rain"))
    assert turn.request.messages[:2] == (user("q"), calling())
    turn.take(MessageStart("final"))
    turn.take(TextDelta("final", "It"))
    turn.take(Finished("cancelled"))
    end = turn.next()
    assert isinstance(end, Finished) and end.reason == "cancelled"
