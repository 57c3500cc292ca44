"""What an answer consists of, part by part: analysis, what is said on the way, tool calls and their results."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from app.chat import loop
from app.chat.conversation import AnswerFacts, CallFacts, Conversation
from app.tui.parts import answering
from app.tui.text.answer_parts import LIVE_TAIL, Kind, Part, State, parts_of
from app.tui.text.call_text import MAX_HIGHLIGHTED, MAX_LINE, NO_TOOLS, describe
from app.tui.text.pages import MAX_TEXT
from app.tui.widgets.analysis import Analysis
from app.tui.widgets.calls import CallTitle, CallView
from app.tui.widgets.messages import AnswerText, AnswerView
from mlx_model.events import Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import Message, Role, assistant
from tests.app.tui.test_hostile import HOSTILE, assert_inert
from tests.fixtures.fakes import (
    STATS,
    FakeEngine,
    chat,
    deltas,
    desk_of,
    idle,
    on_screen,
    opened,
    send,
    text_on,
    wait_until,
)
from tests.fixtures.trees import TURN, keep

WEATHER = '{"city": "Paris", "days": 3}'


def call(text: str, tool: str = "python", channel: str = "analysis") -> Message:
    """What the model asks of a tool."""
    return Message(Role.ASSISTANT, text, channel=channel, recipient=tool)


def result(text: str, tool: str = "python") -> Message:
    """What a tool gave."""
    return Message(Role.TOOL, text, tool, "commentary", "assistant")


def weather(text: str = WEATHER) -> Message:
    """A call of a function."""
    return call(text, "functions.get_weather", "commentary")


def shape(messages: list[Message], reason: str | None = "stop") -> list[tuple[str, int]]:
    """Kinds of parts, and of how many messages they are."""
    return [(part.kind.value, len(part.messages)) for part in parts_of(messages, reason)]


# Which parts there are


def test_parts_stand_in_the_order_of_the_messages() -> None:
    messages = [
        assistant("one", "analysis"),
        assistant("two", "analysis"),
        assistant("", "commentary"),
        assistant("I look it up.", "commentary"),
        weather(),
        result("21", "functions.get_weather"),
        assistant("three", "analysis"),
        call("1 + 1"),
        assistant("Done."),
        assistant(""),
    ]
    assert shape(messages) == [("analysis", 2), ("aside", 1), ("call", 2), ("analysis", 1), ("call", 1), ("answer", 1)]
    parts = parts_of(messages, None)
    assert parts[0].text == "one\n\ntwo" and [part.state for part in parts[:-1]] == [State.WHOLE] * 5
    assert parts[-1].state is State.GROWING
    assert parts_of([], None) == [] and shape([weather("")]) == [("call", 1)]


def test_a_part_keeps_its_place_and_kind_while_an_answer_grows() -> None:
    messages = [assistant("a", "analysis"), call("1"), call("2"), result("1"), assistant("b", "analysis"), result("2")]
    seen: list[Kind] = []
    for count in range(len(messages) + 1):
        kinds = [part.kind for part in parts_of(messages[:count], None)]
        assert kinds[: len(seen)] == seen
        seen = kinds


@pytest.mark.parametrize(
    ("messages", "answered"),
    [
        ([call("a"), call("b"), result("1"), result("2")], [["1"], ["2"]]),
        ([call("a", "browser"), call("b"), result("1", "python"), result("2", "browser")], [["2"], ["1"]]),
        ([call("a", "x.y"), call("b", "z"), result("1", "other")], [[], ["1"]]),  # as ChatGPT names them
        ([result("1"), call("a"), result("2")], [["1"], ["2"]]),
    ],
)
def test_a_result_goes_to_its_call(messages: list[Message], answered: list[list[str]]) -> None:
    assert [[message.text for message in part.results] for part in parts_of(messages, "stop")] == answered


def test_only_a_call_without_a_result_waits_for_one() -> None:
    parts = parts_of([call("a"), result("1"), call("b")], "tool_call")
    assert [part.state for part in parts] == [State.WHOLE, State.WAITING]


@pytest.mark.parametrize("reason", ["", "died", "cancelled", "length", "tool_limit"])
def test_a_call_at_the_end_of_an_answer_that_was_cut_off(reason: str) -> None:
    facts = [CallFacts(), CallFacts()]
    assert parts_of([call("a"), result("1"), call("b")], reason, facts[:1])[-1].state is State.NOT_RUN
    assert parts_of([call("a"), result("1"), call("b")], reason, facts)[-1].state is State.CUT_OFF
    assert parts_of([call("a"), call("b"), result("1")], reason, facts[:1])[0].state is State.WHOLE
    assert parts_of([call("a")], "stop")[0].state is State.WHOLE  # of another program


# How a call is put in words


@pytest.mark.parametrize(
    ("message", "line", "details"),
    [
        (weather(), 'get_weather(city="Paris", days=3)', '```json\n{\n  "city": "Paris",\n  "days": 3\n}\n```'),
        (weather("{'city': 'Paris'}"), 'get_weather(city="Paris")', '```json\n{\n  "city": "Paris"\n}\n```'),
        (weather(""), "get_weather()", "```json\n{}\n```"),
        (weather("Paris, please"), "get_weather  Paris, please", "```arguments\nParis, please\n```"),
        (call('search("x")', "browser"), 'browser  search("x")', '```arguments\nsearch("x")\n```'),
        (call("print(12 * 34)\n"), "python  print(12 * 34)", "```python\nprint(12 * 34)\n\n```"),
        (call('{"code": "a\\nb"}'), "python  2 lines", "```python\na\nb\n```"),
        (call("x = '```'"), "python  x = '```'", "````python\nx = '```'\n````"),
        (weather('{"a": "1\\n2"}'), 'get_weather(a="1\\n2")', '```json\n{\n  "a": "1\\n2"\n}\n```'),
    ],
)
def test_a_call_in_words(message: Message, line: str, details: str) -> None:
    text = describe(Part(Kind.CALL, (message,)))
    assert (text.line, text.outcome, text.details) == (line, "", details)


@pytest.mark.parametrize(
    ("output", "outcome"),
    [
        ("408\n", "\u2192 408"),
        ("a\nb\nc", "\u2192 3 lines"),
        (" \n", "\u2192 nothing"),
        ("x" * 99, "\u2192 " + "x" * 31 + "\u2026"),
    ],
)
def test_what_came_of_a_call(output: str, outcome: str) -> None:
    text = describe(Part(Kind.CALL, (call("1"), result(output))))
    assert text.outcome == outcome and text.details.endswith(f"```result\n{output}\n```")


def test_a_result_without_a_call_and_a_call_without_a_result() -> None:
    assert describe(Part(Kind.CALL, (result("1", "x"),))).line == "x"
    assert describe(Part(Kind.CALL, (Message(Role.TOOL, "1"),))).line == "a tool"
    waiting = describe(Part(Kind.CALL, (call("1"),), State.WAITING))
    assert waiting.outcome == "not run" and waiting.details.endswith(NO_TOOLS)


def test_a_call_that_grows_costs_neither_reading_nor_all_of_its_text() -> None:
    text = describe(Part(Kind.CALL, (weather('{"text": "' + "x\n" * 5000),), State.GROWING))
    assert text.line == "get_weather  5,000 lines" and len(text.details) < LIVE_TAIL + 20
    one_line = describe(Part(Kind.CALL, (weather('{"text": "' + "x" * 5000),), State.GROWING))
    assert len(one_line.line) < MAX_LINE + 20 and one_line.line.endswith("\u2026")


def test_a_long_call_has_no_colours_and_a_huge_one_is_cut_and_says_so() -> None:
    code = "x = 1\n" * MAX_HIGHLIGHTED
    assert describe(Part(Kind.CALL, (call(code),))).details == f"```arguments\n{code}\n```"
    cut = describe(Part(Kind.CALL, (call("x" * (MAX_TEXT + 1_000)),))).details
    assert cut == f"```arguments\n{'x' * MAX_TEXT}\n```\n\n\u2026 and 1,000 more characters (the export has them)."


@pytest.mark.parametrize("depth", [900, 1_200, 100_000])
def test_arguments_nested_without_end_are_shown(depth: int) -> None:
    text = '{"a": ' + "[" * depth + "]" * depth + "}"
    described = describe(Part(Kind.CALL, (weather(text),)))
    assert described.line.startswith("get_weather") and "[[[" in described.line and described.details.count("[") > 200


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_calls_and_results_in_words(text: str) -> None:
    for message in (
        call(text),
        weather(text),
        weather(json.dumps({text: text})),
        call("1", text),
        call("1", "x" + text),
    ):
        described = describe(Part(Kind.CALL, (message, result(text))))
        assert "\n" not in described.line + described.outcome
        assert_inert(described.line + described.outcome + described.details)


# On the screen


def say_call(engine: FakeEngine, message: Message, size: int = 3) -> None:
    """The events of a call."""
    text = message.text
    engine.say(MessageStart(message.channel or "", message.recipient, message.content_type))
    for at in range(0, len(text), size):
        engine.say(TextDelta(message.channel or "", text[at : at + size], message.recipient))
    engine.say(MessageEnd(message))


def answered(*messages: Message, reason: str = "stop") -> Conversation:
    """A conversation with one answer, of these messages."""
    tree = Conversation()
    prompt = tree.add_prompt("Weather?", None)
    tree.add_answer(prompt.id, replace(TURN, reason=reason), messages)
    return tree


async def test_an_answer_shows_its_parts_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (loop, answering):
        monkeypatch.setattr(module, "monotonic", lambda: 0.0)
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.think("Where is it?")
        engine.say(MessageStart("commentary"), *deltas("commentary", "I ask the **weather service**."))
        await send(pilot, "Weather?")
        await on_screen(pilot, "I ask the weather service.")
        assert "Where is it?" not in text_on(pilot)  # the analysis closes when something follows it
        engine.say(MessageStart("commentary", "functions.get_weather", "json"))
        engine.say(TextDelta("commentary", '{"city": "Pa', "functions.get_weather"))
        await on_screen(pilot, '\u25b8 get_weather  {"city": "Pa')
        engine.say(TextDelta("commentary", 'ris"}', "functions.get_weather"), MessageEnd(weather('{"city": "Paris"}')))
        engine.say(MessageStart("analysis"), *deltas("analysis", "And how many days?"))
        await on_screen(pilot, '\u25b8 get_weather(city="Paris")')
        await on_screen(pilot, "\u25be thinking again")
        say_call(engine, call("import math\nprint(math.pi)"))
        engine.say(Finished("tool_call", STATS))
        await idle(pilot)
        lines = [line.strip() for line in text_on(pilot).splitlines()]
        first = next(i for i, line in enumerate(lines) if line.startswith("\u25b8 thought for <0.1 s, 10 tokens"))
        parts_shown = [re.sub("  +", "  ", line) for line in lines[first : first + 9] if line]
        assert parts_shown[1:5] == [
            "I ask the weather service.",
            '\u25b8 get_weather(city="Paris")  not run',
            "\u25b8 thought again",
            "\u25b8 python  2 lines  not run",
        ]
        assert "asked for a tool that was not run" in " ".join(lines)


async def test_a_call_opens_and_closes_by_click_enter_and_space() -> None:
    keep(answered(call("a = 6\nprint(a * 7)"), result("42"), assistant("It is 42.")))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Weather?")
        assert re.search("python  2 lines +\u2192 42", text_on(pilot)) and "print(a * 7)" not in text_on(pilot)
        await pilot.click(CallTitle)
        await on_screen(pilot, "print(a * 7)")
        assert re.search("result +copy *\n", text_on(pilot))
        await pilot.press("x")  # what is typed after a click goes to the input
        assert desk_of(pilot).composer.text == "x"
        await pilot.press("shift+tab", "enter")
        await wait_until(pilot, lambda: "print(a * 7)" not in text_on(pilot))
        await pilot.press("space")
        await on_screen(pilot, "print(a * 7)")
        assert desk_of(pilot).composer.text == "x"


async def test_what_is_opened_stays_in_sight_from_its_title_on() -> None:
    keep(answered(assistant("words\n\n" * 20), call("line\n" * 40 + "last")))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Weather?")
        await on_screen(pilot, "python  41 lines")
        await pilot.press("shift+tab", "enter")
        title = pilot.app.query_one(CallTitle)
        await wait_until(pilot, lambda: title.region.y == desk_of(pilot).transcript.region.y + 1)
        await pilot.press("end")
        await on_screen(pilot, "last")
        await pilot.press("pageup", "escape")
        await on_screen(pilot, "more below")


async def test_an_open_call_grows_and_takes_its_result() -> None:
    engine = FakeEngine()
    async with chat(engine) as pilot:
        await idle(pilot)
        engine.say(MessageStart("analysis", "python"), TextDelta("analysis", "first\nsecond", "python"))
        await send(pilot, "go")
        await on_screen(pilot, "python  2 lines")
        await pilot.click(CallTitle)
        await on_screen(pilot, "second")
        engine.say(*(TextDelta("analysis", f"\nline {n} of many", "python") for n in range(200)))
        await on_screen(pilot, "line 199 of many")
        view = pilot.app.query_one(AnswerView)
        assert "line 12 of" not in text_on(pilot) and pilot.app.query_one(CallView).region.height < LIVE_TAIL / 10
        engine.say(MessageEnd(call("first\nsecond")), Finished("tool_call", STATS))
        await idle(pilot)
        await on_screen(pilot, "The tool was not run")
        await view.show([*view.messages, result("found")], 0.0, 0, "stop")
        await on_screen(pilot, "\u2192 found")
        assert "The tool was not run" not in text_on(pilot)


async def test_a_kept_answer_goes_on_in_its_place() -> None:
    kept = [assistant("hm", "analysis"), assistant("It was a dark and")]
    keep(answered(*kept, reason="cancelled"))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Weather?")
        view = pilot.app.query_one(AnswerView)
        before = list(view.children)
        await view.show([kept[0], assistant("It was a dark and stormy **night**")], 2.5, 84)
        await on_screen(pilot, "It was a dark and stormy night")
        await view.show([kept[0], assistant("It was a dark and stormy **night**"), call("1")], 2.5, 84)
        await on_screen(pilot, "python  1")
        assert [child for child in view.children if child in before] == before and len(view.children) == len(before) + 1


async def test_only_what_differs_is_laid_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    updated: list[str] = []

    def recording(show: Callable[[Any, Part], Awaitable[None]]) -> Callable[[Any, Part], Awaitable[None]]:
        async def recorded(self: object, part: Part) -> None:
            updated.append(part.kind.value)
            await show(self, part)

        return recorded

    for kind in (Analysis, CallView, AnswerText):
        monkeypatch.setattr(kind, "show", recording(kind.show))
    messages = [assistant("hm", "analysis"), call("1"), result("2"), assistant("So")]
    keep(answered(*messages))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Weather?")
        view = pilot.app.query_one(AnswerView)
        await view.show(messages, 2.5, 84, "stop")
        assert updated == []
        await view.show([*messages[:-1], assistant("So it is")], 2.5, 84)
        assert updated == ["answer"]


async def test_analysis_stays_open_where_an_answer_ended_in_it() -> None:
    keep(answered(call("1"), assistant("half a thought", "analysis"), reason="cancelled"))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Weather?")
        assert "half a thought" in text_on(pilot) and "\u25b8 python  1" in text_on(pilot)


async def test_an_answer_of_another_program_has_no_figures_of_its_thinking() -> None:
    tree = Conversation()
    prompt = tree.add_prompt("Weather?", None)
    tree.add_answer(prompt.id, AnswerFacts("gpt-5", None, "stop"), [assistant("hm", "analysis"), assistant("Fine.")])
    keep(tree)
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Weather?")
        assert any(line.strip() == "\u25b8 thought" for line in text_on(pilot).splitlines())


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_calls_on_the_screen(text: str) -> None:
    engine = FakeEngine()
    async with chat(engine, size=(80, 60)) as pilot:
        await idle(pilot)
        say_call(engine, call(text or "x", text))
        say_call(engine, weather(json.dumps({text: text})))
        engine.say(Finished("tool_call", STATS))
        await send(pilot, "go")
        await idle(pilot)
        for each in pilot.app.query(CallView):
            each.open = True
        await on_screen(pilot, NO_TOOLS[:20])
        assert_inert(text_on(pilot))
        view = pilot.app.query_one(AnswerView)
        await view.show([*view.messages, result(text), result(text, text)], 0.0, 0, "stop")
        await pilot.pause(0.1)
        assert_inert(text_on(pilot))
        assert pilot.app.is_running and pilot.app.export_screenshot()


async def test_a_title_is_as_long_as_the_screen_is_wide_and_keeps_the_result() -> None:
    keep(answered(weather(json.dumps({"city": "Paris " * 50})), result("21 degrees", "functions.get_weather")))
    async with chat(FakeEngine()) as pilot:
        await opened(pilot, "Weather?")
        for width in (80, 200, 40):
            await pilot.resize_terminal(width, 24)
            (line,) = (line.rstrip() for line in text_on(pilot).splitlines() if "get_weather(" in line)
            assert line.endswith("\u2026  \u2192 21 degrees") and len(line) <= width


async def test_a_search_jumps_to_what_a_call_says() -> None:
    keep(answered(assistant("hm", "analysis"), call("x = 1\nneedle = 2"), result("haystack\nall of it")))
    async with chat(FakeEngine(), size=(120, 40)) as pilot:
        await idle(pilot)
        for word in ("needle", "haystack"):
            await pilot.press("ctrl+n", "ctrl+f", *word)
            await on_screen(pilot, word)
            await pilot.press("enter", "enter")
            await in_chat(pilot, word)


async def in_chat(pilot: Pilot[None], text: str) -> None:
    """Wait for a text beside the sidebar."""
    await wait_until(pilot, lambda: text in chat_side(pilot), text)


def chat_side(pilot: Pilot[None]) -> str:
    """The screen without the sidebar."""
    return "\n".join(line[34:] for line in text_on(pilot).splitlines())
