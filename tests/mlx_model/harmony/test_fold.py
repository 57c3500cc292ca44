"""Folding events into messages: whatever the stream, and at any moment of it."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from mlx_model.events import Event, Finished, MessageEnd, MessageStart, PrefillProgress, Stats, TextDelta
from mlx_model.generation.stop import StopStrings
from mlx_model.harmony.fold import FoldedAnswer, fold
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.harmony.parse import StreamParser
from mlx_model.harmony.render import Renderer
from tests.fixtures.conversations import MESSAGES
from tests.fixtures.vocabulary import o200k, oracle

CALL = Message(Role.ASSISTANT, '{"a": 1}', None, "commentary", "functions.f", "json")
ANSWER = [assistant("Sum.", "analysis"), assistant("I look.", "commentary"), CALL, assistant("2"), assistant("!")]


def events_of(messages: list[Message], reason: str = "stop") -> Iterator[Event]:
    """As a session gives them."""
    yield PrefillProgress(3, 7)
    parser = StreamParser(o200k(), None)
    for token in Renderer(o200k()).conversation(messages):
        yield from parser.push(token)
    yield from parser.finish()
    yield Finished(reason, Stats(decode_tokens=5))


def test_an_answer() -> None:
    answer = fold(events_of(ANSWER))
    assert answer.messages == ANSWER
    assert (answer.text, answer.analysis, answer.on("commentary")) == ("2\n\n!", "Sum.", "I look.")
    assert [(call.name, call.arguments) for call in answer.calls()] == [("functions.f", {"a": 1})]
    assert [call.error is None for call in answer.calls(["python"])] == [False]
    assert answer.finished == Finished("stop", Stats(decode_tokens=5))
    assert answer.writing is None


def test_at_any_moment() -> None:
    answer = FoldedAnswer()
    deltas: list[str] = []
    for event in events_of(ANSWER):
        answer.take(event)
        whole = "".join(message.text for message in answer.messages)
        if isinstance(event, TextDelta):
            deltas.append(event.text)
            assert answer.writing is not None
            assert answer.writing.text.endswith(event.text)
            assert (answer.writing.channel, answer.writing.recipient) == (event.channel, event.recipient)
            assert answer.messages[-1] == answer.writing
        assert whole == "".join(deltas)
    assert answer.messages == ANSWER


def test_a_header_alone_is_no_message_yet() -> None:
    answer = FoldedAnswer()
    assert (answer.messages, answer.text, answer.writing, answer.finished) == ([], "", None, None)
    answer.take(MessageStart("commentary", "functions.f", "json"))
    assert answer.writing == Message(Role.ASSISTANT, "", None, "commentary", "functions.f", "json")
    assert answer.messages == []
    answer.take(MessageEnd(Message(Role.ASSISTANT, "", None, "commentary", "functions.f", "json")))
    assert [call.name for call in answer.calls()] == ["functions.f"]


@pytest.mark.parametrize("end", [Finished("cancelled"), MessageStart("final")], ids=["the end", "the next"])
def test_what_was_cut_off_stays(end: Event) -> None:
    """A pipe that broke, an answer that was stopped: what was shown is kept."""
    answer = FoldedAnswer()
    for event in (MessageStart("analysis"), TextDelta("analysis", "Hm"), TextDelta("analysis", "m."), end):
        answer.take(event)
    assert answer.complete == [assistant("Hmm.", "analysis")]
    assert (answer.text, answer.analysis) == ("", "Hmm.")


@pytest.mark.parametrize("reason", ["length", "cancelled", "stop_string"])
def test_half_a_call_is_none(reason: str) -> None:
    half = Message(Role.ASSISTANT, "rm(a", None, "analysis", "python")
    start: list[Event] = [MessageEnd(CALL), MessageStart("analysis", "python"), TextDelta("analysis", "rm(a", "python")]
    ends: list[list[Event]] = [[], [Finished(reason)], [MessageEnd(half), Finished(reason)]]
    for end in ends:
        answer = fold([*start, *end])
        assert answer.messages == [CALL, half]
        assert [call.name for call in answer.calls()] == ["functions.f"]


def test_deltas_without_a_header() -> None:
    answer = fold([TextDelta("commentary", "{}", "functions.f"), Finished("cancelled")])
    assert answer.messages == [Message(Role.ASSISTANT, "{}", None, "commentary", "functions.f")]


def test_messages_of_others_are_left_out() -> None:
    text = "<|channel|>final<|message|>x<|end|><|start|>user<|message|>and y<|end|><|start|>assistant<|message|>z"
    answer = FoldedAnswer()
    parser = StreamParser(o200k())
    for token in oracle().encode(text, allowed_special="all"):
        for event in parser.push(token):
            answer.take(event)
            assert "y" not in "".join(message.text for message in answer.messages)
    for event in parser.finish():
        answer.take(event)
    assert [message.text for message in answer.messages] == ["x", "z"]
    assert answer.text == "x\n\nz"


def test_stop_strings() -> None:
    parser = StreamParser(o200k())
    tokens = oracle().encode("<|channel|>final<|message|>one STOP two", allowed_special="all")
    answer = fold(StopStrings(["STOP"]).filter(event for token in tokens for event in parser.push(token)))
    assert answer.messages == [assistant("one ")]


@settings(max_examples=100, deadline=None)
@given(MESSAGES)
def test_the_fold_is_what_the_parser_says(messages: list[Message]) -> None:
    parser = StreamParser(o200k(), None)
    answer = FoldedAnswer()
    for token in Renderer(o200k()).conversation(messages):
        for event in parser.push(token):
            answer.take(event)
    for event in parser.finish():
        answer.take(event)
    assert answer.messages == [message for message in parser.messages if message.role is Role.ASSISTANT]


def test_an_answer_that_goes_on_is_at_first_what_it_was() -> None:
    for last in (Message(Role.ASSISTANT, "one", recovered=True), Message(Role.TOOL, "6.5", "python", "commentary")):
        unfinished = [assistant("t", "analysis"), last]
        assert FoldedAnswer(unfinished).messages == unfinished


def test_an_answer_that_goes_on() -> None:
    unfinished = [assistant("t", "analysis"), assistant("one ")]
    answer = FoldedAnswer(unfinished)
    assert answer.messages == unfinished
    assert answer.writing == unfinished[-1]
    answer.take(TextDelta("final", "two"))
    assert answer.messages == [unfinished[0], assistant("one two")]
    answer.take(MessageEnd(assistant("one two")))
    assert answer.messages == [unfinished[0], assistant("one two")]
    assert answer.writing is None
