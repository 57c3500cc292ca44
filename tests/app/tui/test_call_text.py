"""A tool call in words, of every kind of call, and never longer than a screen can lay out at once."""

import json

import pytest

from app.chat.conversation import CallFacts
from app.tui.text.answer_parts import LIVE_TAIL, Kind, Part, State
from app.tui.text.call_text import ARGUMENTS, MAX_HIGHLIGHTED, MAX_LINE, MAX_OUTCOME, NO_TOOLS, RESULT, describe
from app.tui.text.pages import MAX_TEXT
from app.tui.widgets.steps import summed_up
from mlx_model.harmony.message import Message, Role


def call(text: str, name: str = "functions.f") -> Message:
    return Message(Role.ASSISTANT, text, channel="commentary", recipient=name)


def result(text: str, name: str = "functions.f") -> Message:
    return Message(Role.TOOL, text, name=name)


def of(*messages: Message, state: State = State.WHOLE) -> tuple[str, str, str]:
    found = describe(Part(Kind.CALL, messages, state))
    return found.line, found.outcome, found.details


def block(label: str, text: str) -> str:
    return f"```{label}\n{text}\n```"


@pytest.mark.parametrize(
    ("message", "line", "details"),
    [
        (
            call('{"city": "Zürich", "n": 1}'),
            'f(city="Zürich", n=1)',
            block("json", '{\n  "city": "Zürich",\n  "n": 1\n}'),
        ),
        (call("{}"), "f()", block("json", "{}")),
        (call("{no json"), "f  {no json", block(ARGUMENTS, "{no json")),
        (call("[1,\n2]"), "f  2 lines", block(ARGUMENTS, "[1,\n2]")),
        (call("1+1", "python"), "python  1+1", block("python", "1+1")),
        (call("a\nb\nc\n", "python"), "python  3 lines", block("python", "a\nb\nc")),
    ],
)
def test_a_whole_call(message: Message, line: str, details: str) -> None:
    found = of(message)
    assert found[:2] == (line, "") and found[2].replace("\n\n```", "\n```") == details
    waiting = of(message, state=State.WAITING)
    assert waiting == (line, "not run", f"{found[2]}\n\n{NO_TOOLS}")


def test_a_call_that_was_cut_off_says_whether_it_was_run() -> None:
    for state, outcome in ((State.NOT_RUN, "not run"), (State.CUT_OFF, "cut off")):
        found = of(call("1", "python"), state=state)
        assert found[1] == outcome and NO_TOOLS not in found[2]
        assert ("it may have done what was asked" in found[2]) == (state is State.CUT_OFF)


def test_a_call_that_grows_is_not_read_yet() -> None:
    assert of(call('{"a": 1}'), state=State.GROWING) == ('f  {"a": 1}', "", block(ARGUMENTS, '{"a": 1}'))
    assert of(call(""), state=State.GROWING)[0] == "f"
    for extra in (0, 1):
        shown = of(call("x" * (LIVE_TAIL + extra)), state=State.GROWING)[2]
        assert shown == block(ARGUMENTS, "\u2026" * extra + "x" * LIVE_TAIL)


@pytest.mark.parametrize(
    ("texts", "outcome"),
    [
        (["3"], "\u2192 3"),
        ([" 3 \n"], "\u2192 3"),
        (["3", "4"], "\u2192 2 lines"),
        (["x\n" * 1500], "\u2192 1,500 lines"),
        ([""], "\u2192 nothing"),
        (["y" * MAX_OUTCOME], "\u2192 " + "y" * MAX_OUTCOME),
        (["y" * (MAX_OUTCOME + 1)], "\u2192 " + "y" * (MAX_OUTCOME - 1) + "\u2026"),
        (["\x1b[1m"], "\u2192 \u241b[1m"),
    ],
)
def test_results(texts: list[str], outcome: str) -> None:
    found = of(call("{}"), *map(result, texts))
    assert found[1] == outcome and f"```{RESULT}" in found[2] and "\x1b" not in found[2]


@pytest.mark.parametrize(
    ("name", "line"), [("functions.g", "g"), ("python", "python"), ("", "a tool"), (None, "a tool")]
)
def test_a_result_that_nothing_asked_for_has_its_tools_name(name: str | None, line: str) -> None:
    message = Message(Role.TOOL, "3", name=name)
    assert of(message) == (line, "\u2192 3", block(RESULT, "3"))


def test_why_a_call_has_failed_is_said_in_full_where_there_is_room() -> None:
    text = "Error: there is no tool container.exec. Tools: python."
    failed = describe(Part(Kind.CALL, (call("{}"), result(text)), facts=(CallFacts(error=True),)))
    assert failed.outcome == f"\u2717 {text[: MAX_OUTCOME - 1]}\u2026" and failed.reason == f"\u2717 {text}"
    assert describe(Part(Kind.CALL, (call("{}"), result(text)))).reason == ""


def test_many_calls_in_one_line() -> None:
    parts = [Part(Kind.CALL, (call("{}", name),), facts=(CallFacts(seconds=2),)) for name in ("python", "browser.open")]
    assert summed_up(parts[:1]) == "1 call: 1 python \u00b7 2 s"
    assert summed_up([*parts, parts[1]]) == "3 calls: 2 open, 1 python \u00b7 6 s"


def test_long_ones_are_cut() -> None:
    text = json.dumps({"a": "x" * (2 * MAX_TEXT)})
    line, _, details = of(call(text))
    assert len(line) == MAX_LINE + len("f()") and line.endswith("\u2026)")
    assert len(details) < MAX_TEXT + 200 and "more characters (the export has them)" in details
    for extra in (0, 1):
        details = of(call("y" * (MAX_HIGHLIGHTED + extra), "python"))[2]
        assert details.startswith(f"```{ARGUMENTS if extra else 'python'}\n")
    assert of(call("z " * MAX_LINE * 3 + "\n", "python"))[0].endswith("\u2026")
    assert of(call("{}"), result("w" * (MAX_HIGHLIGHTED + 1)))[2].count(f"```{RESULT}") == 1
