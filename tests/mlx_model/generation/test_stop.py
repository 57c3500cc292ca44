"""Stop strings: found across deltas, in the final channel only, never shown in part."""

import pytest

from mlx_model.events import Event, MessageEnd, MessageStart, TextDelta
from mlx_model.generation.stop import StopStrings
from mlx_model.harmony.message import assistant


def answer(text: str, channel: str = "final", step: int = 1) -> list[Event]:
    """The events of one message whose text comes `step` characters at a time."""
    deltas = [TextDelta(channel, text[i : i + step]) for i in range(0, len(text), step)]
    return [MessageStart(channel), *deltas, MessageEnd(assistant(text, channel))]


def run(stop: StopStrings, events: list[Event]) -> tuple[str, list[Event]]:
    """What is shown, and all events that come out."""
    visible = [out for event in events for out in stop.filter([event])]
    return "".join(event.text for event in visible if isinstance(event, TextDelta)), visible


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("text", "strings", "visible"),
    [
        ("one STOP two", ["STOP"], "one "),
        ("aaab", ["aab"], "a"),
        ("STOP", ["STOP"], ""),
        ("ab\n\nab", ["\n\n", "x"], "ab"),
        ("one two three", ["three", "two"], "one "),
    ],
)
def test_found(text: str, strings: list[str], visible: str, step: int) -> None:
    stop = StopStrings(strings)
    found, events = run(stop, answer(text, step=step))
    assert stop.found
    assert found == visible
    assert events[-1] == MessageEnd(assistant(visible))
    assert sum(isinstance(event, MessageEnd) for event in events) == 1


@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize("text", ["nothing here", "STO", "ends in STO", "SSTTOOPP", ""])
def test_not_found_loses_nothing(text: str, step: int) -> None:
    stop = StopStrings(["STOP", "#"])
    found, events = run(stop, answer(text, step=step))
    assert not stop.found
    assert found == text
    assert {event.channel for event in events if isinstance(event, TextDelta)} <= {"final"}
    assert events[-1] == MessageEnd(assistant(text))


def test_only_in_the_final_channel() -> None:
    stop = StopStrings(["STOP"])
    thought = answer("think STOP think", "analysis")
    assert run(stop, thought)[1] == thought
    assert run(stop, answer("ST"))[0] == "ST"
    assert run(stop, answer("OP"))[0] == "OP"
    assert not stop.found
    assert run(stop, answer("xSTOP"))[0] == "x"
    assert stop.found


def test_of_two_the_one_that_comes_first_even_within_one_delta() -> None:
    assert run(StopStrings(["later", "one"]), answer("one later", step=100))[0] == ""


def test_text_that_may_still_become_one_waits() -> None:
    stop = StopStrings(["<end>"])
    assert [e.text for e in stop.filter([TextDelta("final", "a <en")]) if isinstance(e, TextDelta)] == ["a "]
    assert [e.text for e in stop.filter([TextDelta("final", "joy")]) if isinstance(e, TextDelta)] == ["<enjoy"]


def test_without_stop_strings_events_pass_untouched() -> None:
    events = answer("text")
    assert run(StopStrings([]), events)[1] == events


def test_a_text_that_goes_on_is_kept_and_watched_from_there() -> None:
    stop = StopStrings(["STOP"], assistant("begun ST"))
    found, events = run(stop, answer("OP on STOP two")[1:])
    assert found == "OP on "
    assert events[-1] == MessageEnd(assistant("begun STOP on "))
    assert StopStrings(["x"], assistant("thought", "analysis"))._text_so_far == ""
