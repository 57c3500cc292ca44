"""Calls that come again: which are answered from memory, and when the model goes round in circles."""

from typing import Any

import pytest

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.base import ToolResult
from mlx_model.tools.repeats import Repeats


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, "", arguments=arguments)


def told(*steps: tuple[ToolCall, str]) -> Repeats:
    repeats = Repeats()
    for each, text in steps:
        repeats.add(each, ToolResult(text))
    return repeats


@pytest.mark.parametrize(
    "again",
    [
        call("browser.search", query="mlx"),
        call("browser.open", id="https://example.com"),
        call("browser.open", url="https://example.com"),
        call("browser.open", cursor=2),
        call("browser.open", id=3, cursor=2),
        call("browser.find", pattern="x", cursor=2),
    ],
)
def test_a_page_that_is_asked_for_again_is_named_by_its_cursor(again: ToolCall) -> None:
    repeats = told((again, "[4] title (url)\n**viewing"))
    for _ in range(2):
        known = repeats.known(again)
        assert known is not None
        hint = "You have this result already, at cursor 4: the same call was made just before."
        assert known.text == f"{hint} Use it, or call something else.\n\n[4] title (url)\n**viewing"
        repeats.add(again, known)
    assert repeats.goes_round(again)


def test_only_pages_have_cursors() -> None:
    again = call("functions.read", line=4)
    known = told((again, "[4] x")).known(again)
    assert known is not None and known.text.startswith("You have this result already: the same")


@pytest.mark.parametrize(
    "again",
    [
        call("browser.open", id=3),
        call("browser.open", id="3"),
        call("browser.open", id=3, cursor=-1),
        call("browser.open", loc=40),
        call("browser.open", loc=40, cursor=None),
        call("browser.find", pattern="x"),
        call("python", code="next(it)"),
        call("functions.dice"),
    ],
)
def test_what_is_meant_of_the_newest_page_or_state_is_carried_out_again(again: ToolCall) -> None:
    """The link "next" has the same number on every page."""
    repeats = Repeats()
    for number in range(9):
        assert repeats.known(again) is None and not repeats.goes_round(again)
        repeats.add(again, ToolResult(f"[{number}] page {number}"))


def test_the_same_page_under_a_new_number_is_no_progress() -> None:
    again = call("browser.open", loc=40)
    repeats = told(*((again, f"[{number}] page") for number in range(3)))
    assert repeats.goes_round(again)
    assert not repeats.goes_round(call("browser.open", loc=41))
    assert told((call("browser.search", query="x"), "[0] x"), *((again, "[1] page") for _ in range(3))).goes_round(
        again
    )
    cell = call("python", code="x")
    assert not told(*((cell, f"[{number}] page") for number in range(3))).goes_round(cell)


def test_two_calls_by_turns_are_a_circle_unless_something_comes_of_them() -> None:
    a, b = call("functions.read", path="a"), call("functions.read", path="b")
    repeats = told(*[(a, "1"), (b, "2")] * 2, (a, "1"))
    assert not repeats.goes_round(b)
    repeats.add(b, ToolResult("2"))
    assert repeats.goes_round(a) and not repeats.goes_round(b)
    progress = told((a, "1"), (b, "2"), (a, "1"), (b, "3"), (a, "1"), (b, "4"))
    assert not progress.goes_round(a)
    edit = [call("functions.edit", line=line) for line in range(4)]
    tests = told(*[step for each in edit for step in ((each, "ok"), (a, "1 failed"))])
    assert not tests.goes_round(call("functions.edit", line=9)) and not tests.goes_round(a)


def test_errors_are_tried_again_but_not_for_ever() -> None:
    repeats, again = Repeats(), call("functions.fetch", url="x")
    for _ in range(3):
        assert repeats.known(again) is None and not repeats.goes_round(again)
        repeats.add(again, ToolResult("timed out", error=True))
    assert repeats.goes_round(again)
