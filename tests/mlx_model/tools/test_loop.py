"""The turn as a state machine: rounds, results, repeated calls, limits, figures."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta, Warned
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, assistant, user
from mlx_model.options import Options
from mlx_model.request import Request
from mlx_model.tools.base import ToolResult
from mlx_model.tools.budget import LITTLE_LEFT, Budget
from mlx_model.tools.loop import ToolTurn
from mlx_model.tools.toolbox import Toolbox

THOUGHT, ANSWER = assistant("hm", "analysis"), assistant("It rains.")
ROUND = Stats(10, 0, 5, ttft_s=1.0, prefill_s=1.0, decode_s=0.5, peak_memory_bytes=7, seed=42)


def weather(city: str = "") -> str:
    return city


def other(a: int = 0) -> None: ...


def calling(text: str = '{"city": "Oslo"}', recipient: str = "functions.weather") -> Message:
    return Message(Role.ASSISTANT, text, None, "commentary", recipient, "json")


def turn_of(*messages: Message, most_calls: int = 40, budget: Budget | None = None, **options: int) -> ToolTurn:
    request = Request(messages or [user("q")], Options(**options))  # type: ignore[arg-type]
    return ToolTurn(Toolbox([weather, other, "browser"]), request, most_calls=most_calls, budget=budget)


def round_of(
    turn: ToolTurn, *messages: Message, reason: str = "tool_call", stats: Stats = ROUND
) -> ToolCall | Finished:
    """The model writes these messages, and stops."""
    events: list[Event] = [*map(MessageEnd, messages), Finished(reason, stats)]
    assert [event for each in events for event in turn.take(each)] == events
    following = turn.next()
    assert following is not None
    return following


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
    finished = turn.answer(call, ToolResult("rain", outcome="1 word"))
    assert finished.result == ToolResult("rain", outcome="1 word")
    result = Message(Role.TOOL, "rain", "functions.weather", "commentary", "assistant")
    assert turn.request.messages == (user("q"), THOUGHT, calling(), result)
    assert [function.name for function in turn.request.functions] == ["weather", "other"]
    # The next round reads what the first left in the cache.
    end = round_of(turn, ANSWER, reason="stop", stats=Stats(4, 15, 3, ttft_s=0.2, prefill_s=0.2, decode_s=0.3, seed=42))
    stats = Stats(14, 0, 8, ttft_s=1.0, prefill_s=1.2, decode_s=0.8, peak_memory_bytes=7, seed=42)
    assert end == Finished("stop", replace(stats, first_prompt_tokens=10))


@pytest.mark.parametrize(
    ("choice", "later"), [("required", "auto"), ("weather", "auto"), ("none", "none"), ("auto", "auto")]
)
def test_a_call_that_had_to_be_made_is_made_once(choice: str, later: str) -> None:
    turn = ToolTurn(Toolbox([weather]), Request([user("q")], tool_choice=choice))
    assert turn.request.tool_choice == choice
    turn.answer(call_of(turn, calling()), ToolResult("rain"))
    assert turn.request.tool_choice == later


def test_a_warning_is_passed_on_once_and_is_no_beginning() -> None:
    turn = turn_of()
    assert turn.take(Warned("uniqueItems")) == [Warned("uniqueItems")]
    assert not turn._has_begun  # a prompt that is too long may still be shortened
    turn.answer(call_of(turn, calling()), ToolResult("rain"))
    assert turn.take(Warned("uniqueItems")) == []


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


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (calling("{"), "its arguments can't be read"),
        (calling(recipient="container.exec"), "there is no such tool"),
    ],
)
def test_a_call_that_can_not_be_read_is_answered_without_a_tool(message: Message, outcome: str) -> None:
    turn = turn_of()
    call = call_of(turn, message)
    result = turn.known_result(call)
    assert result is not None and result.error
    assert (result.text, result.outcome) == (call.error, outcome)
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
    denied = turn.deny(call_of(turn, calling()), "No.")
    assert denied.message == turn.request.messages[-1]
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


def results(turn: ToolTurn) -> list[str]:
    return [message.text for message in turn.request.messages if message.role is Role.TOOL]


def words(text: str) -> int:
    return len(text.split())


def step(turn: ToolTurn, number: int, used: int, text: str, decoded: int = 0) -> None:
    """The model calls with something new, after which `used` tokens are in the context."""
    call = round_of(turn, calling(f'{{"n": {number}}}'), stats=Stats(used - decoded, 0, decoded))
    assert isinstance(call, ToolCall)
    turn.answer(call, ToolResult(text))


def test_old_results_make_room_in_the_request_and_the_caller_has_them_whole() -> None:
    turn, text = turn_of(budget=Budget(8_192, words)), "word " * 900
    for number in range(5):
        step(turn, number, 1_000 + 1_000 * number, text)
    assert results(turn) == [text] * 5
    call = round_of(turn, THOUGHT, calling('{"n": 5}'), stats=Stats(7_100, 0, 0))
    assert isinstance(call, ToolCall)
    # The thought has taken what was left: there is room again before the call is run.
    stub = "[4,500 characters of this result are left out to save room]"
    assert results(turn) == [stub] * 2 + [text] * 3
    assert turn.room(call) == (8_192 - 7_100 + 2 * (900 - 11)) // 8
    finished = turn.answer(call, ToolResult(text))
    assert finished.result.text == text
    assert results(turn) == [stub] * 2 + [text] * 4
    assert [m for m in turn.request.messages if m.role is Role.ASSISTANT][-2:] == [THOUGHT, calling('{"n": 5}')]


def test_when_little_is_left_the_model_is_asked_to_answer_and_runs_nothing_more() -> None:
    turn = turn_of(budget=Budget(8_192, words))
    step(turn, 0, 6_900, "word " * 100)
    assert results(turn) == ["word " * 100]
    step(turn, 1, 7_300, "word")
    assert results(turn)[1:] == [f"word\n\n{LITTLE_LEFT}"]
    call = round_of(turn, calling('{"n": 2}'), stats=Stats(7_600, 0, 0))
    assert isinstance(call, ToolCall) and turn.known_result(call) is None
    turn.answer(call, ToolResult("word"))
    call = round_of(turn, calling('{"n": 3}'), stats=Stats(7_800, 0, 0))
    assert isinstance(call, ToolCall)
    not_run = turn.known_result(call)
    assert not_run == ToolResult(LITTLE_LEFT, error=True, outcome="little context is left")
    turn.answer(call, not_run)
    assert results(turn)[2:] == [f"word\n\n{LITTLE_LEFT}", LITTLE_LEFT]


def test_a_result_that_is_too_long_for_what_is_left_is_cut_for_everybody() -> None:
    turn = turn_of(budget=Budget(8_192, words))
    finished = turn.answer(call_of(turn, calling()), ToolResult("word " * 50_000))
    assert words(finished.result.text) < 4_200 and turn.request.messages[-1] == finished.message


def test_a_round_that_the_engine_has_no_room_for_is_asked_with_less_until_nothing_can_go() -> None:
    """The count was an estimate."""
    turn, text = turn_of(budget=Budget(8_192, lambda text: 300)), "word " * 200
    for number in range(4):
        step(turn, number, 1_000, text)
    lengths = [sum(map(len, results(turn)))]
    while turn.make_room():
        lengths.append(sum(map(len, results(turn))))
    assert len(lengths) > 3 and lengths == sorted(lengths, reverse=True) and LITTLE_LEFT in results(turn)[-1]
    assert not turn_of(user("q")).make_room()
    turn = turn_of(budget=Budget(8_192, words))
    step(turn, 0, 1_000, text)
    turn.take(TextDelta("analysis", "h"))
    assert not turn.make_room()  # the round had begun, so it was not too long


def test_a_conversation_that_was_cut_off_with_long_results_goes_on_with_less() -> None:
    old = [calling(), Message(Role.TOOL, "word " * 3_000, "functions.weather", "commentary", "assistant")]
    turn = turn_of(user("q"), *old * 3, calling('{"city": "Rome"}'), budget=Budget(8_192, words))
    assert [text.startswith("[15,000 characters") for text in results(turn)] == [True, True, False]
    # The call at the end was complete, but not run ("tool_limit"): the model only ends it.
    turn.take(MessageEnd(calling('{"city": "Rome"}')))
    turn.take(Finished("tool_call", ROUND))
    call = turn.next()
    assert isinstance(call, ToolCall) and turn.known_result(call) is None
    turn.answer(call, ToolResult("sun"))
    assert turn.request.messages[-2:] == (calling('{"city": "Rome"}'), call.result("sun"))
    assert len(turn.request.messages) == 1 + 6 + 2


def test_a_thought_that_the_context_cuts_off_goes_on_once_results_have_made_room() -> None:
    turn, text = turn_of(budget=Budget(8_192, words), max_tokens=5_000), "word " * 900
    for number in range(4):
        step(turn, number, 1_000, text)
    passed_on: list[Event] = []
    half, whole = assistant("I think", "analysis"), assistant("I think so", "analysis")
    full = Finished("length", Stats(7_000, 0, 1_192, seed=42))
    events: list[Event] = [MessageStart("analysis"), TextDelta("analysis", "I think"), MessageEnd(half), full]
    for event in events:
        passed_on += turn.take(event)
    # The end of the message is not passed on: to the caller it just takes a while.
    assert passed_on == [MessageStart("analysis"), TextDelta("analysis", "I think"), full]
    assert turn.next() is None
    assert turn.request.messages[-1] == half and turn.request.options.max_tokens == 5_000 - 1_192
    assert [text.startswith("[4,500 char") for text in results(turn)] == [True, True, False, False]
    call = round_of(turn, whole, calling('{"n": 9}'), stats=Stats(0, 4_000, 10))
    assert isinstance(call, ToolCall)
    turn.answer(call, ToolResult("rain"))
    assert turn.request.messages[-3:] == (whole, calling('{"n": 9}'), call.result("rain"))


@pytest.mark.parametrize(
    ("tokens", "most", "context"),
    [
        pytest.param(1_192, 1_492, 8_192, id="max_tokens"),
        pytest.param(1_192, 5_000, 100_000, id="something else"),
    ],
)
def test_a_round_that_has_its_tokens_does_not_go_on(tokens: int, most: int, context: int) -> None:
    turn = turn_of(budget=Budget(context, words), max_tokens=most)
    for number in range(3):
        step(turn, number, 1_000, "word " * 900, decoded=100)
    end = round_of(turn, THOUGHT, reason="length", stats=Stats(7_000, 0, tokens))
    assert isinstance(end, Finished) and end.reason == "length"
