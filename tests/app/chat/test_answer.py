"""What an answer becomes: the messages, figures and facts that a conversation keeps of it, at any moment."""

import pytest

from app.chat.answer import AnswerRecord
from app.chat.conversation import AnswerFacts, Conversation
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, Stats, TextDelta
from mlx_model.harmony.message import Effort, Message, Role, assistant
from tests.fixtures.trees import TURN

STATS = Stats(prefill_tokens=5, decode_tokens=3, ttft_s=0.5, decode_s=1.0)
CALL = Message(Role.ASSISTANT, "{}", channel="commentary", recipient="functions.f")


def whole(text: str, channel: str = "final") -> list[Event]:
    """The events of one message."""
    return [MessageStart(channel), TextDelta(channel, text), MessageEnd(assistant(text, channel))]


def filled(*events: Event, record: AnswerRecord | None = None) -> AnswerRecord:
    """A record that has taken these events, one a second."""
    record = record or AnswerRecord(Effort.LOW, model="m")
    for now, event in enumerate(events):
        record.take(event, now)
    return record


def test_an_answer_is_kept_while_it_grows_and_when_it_has_ended() -> None:
    chat = Conversation()
    prompt = chat.add_prompt("q", None)
    record = AnswerRecord(Effort.LOW, prompt, model="m")
    assert not record.has_begun
    thought, final = whole("hm", "analysis"), whole("yes")
    filled(*thought, *final[:2], record=record)
    assert record.has_begun and record.finished is None
    record.keep_in(chat, 9.0)
    assert chat.nodes[record.id].facts == AnswerFacts("m", Effort.LOW, None, Stats(), 2.0, 1)
    filled(final[2], Finished("stop", STATS), record=record)
    record.keep_in(chat, 9.0, "died")
    assert chat.path == [prompt, chat.nodes[record.id]]
    assert chat.path[-1].messages == (assistant("hm", "analysis"), assistant("yes"))
    assert chat.path[-1].facts == AnswerFacts("m", Effort.LOW, "stop", STATS, 2.0, 1)


def test_an_answer_without_an_end_has_the_reason_it_is_given() -> None:
    record = filled(*whole("half")[:2])
    assert record.facts(5.0).reason is None
    assert record.facts(5.0, "died") == AnswerFacts("m", Effort.LOW, "died")


def test_a_continued_answer_keeps_its_effort_and_adds_up_its_figures() -> None:
    chat = Conversation()
    begun = chat.add_answer(chat.add_prompt("q", None).id, TURN, [assistant("hm", "analysis"), assistant("on")])
    record = AnswerRecord(Effort.HIGH, begun, model="other")
    assert (record.id, record.effort, record.has_begun) == (begun.id, Effort.LOW, False)
    assert (record.messages, record.stats) == (list(begun.messages), TURN.stats)
    filled(TextDelta("final", "ward"), MessageEnd(assistant("onward")), Finished("stop", STATS), record=record)
    record.keep_in(chat, 9.0)
    [_, kept] = chat.path
    assert kept.messages == (assistant("hm", "analysis"), assistant("onward"))
    assert kept.facts is not None and kept.facts.stats == TURN.stats.followed_by(STATS)
    assert (kept.facts.model, kept.facts.effort, kept.facts.analysis_s) == ("other", Effort.LOW, TURN.analysis_s)


def test_an_answer_that_grows_stays_where_it_is_and_takes_nobody_to_it() -> None:
    chat = Conversation()
    prompt = chat.add_prompt("q", None)
    record = filled(*whole("half")[:2], record=AnswerRecord(Effort.LOW, prompt))
    record.keep_in(chat, 1.0)
    chat.add_prompt("another", None)
    nodes, leaf, updated = list(chat.nodes), chat.leaf, chat.updated
    record.take(TextDelta("final", " more"), 2.0)
    record.keep_in(chat, 2.0)
    assert chat.nodes[record.id].text("final") == "half more"
    assert (list(chat.nodes), chat.leaf, chat.updated) == (nodes, leaf, updated)


@pytest.mark.parametrize("reason", ["stop", "no_answer", "tool_call", "length", "stop_string", "cancelled"])
def test_the_reason_is_the_engines(reason: str) -> None:
    record = filled(*whole("hm", "analysis"), Finished(reason, STATS))
    assert record.finished == Finished(reason, STATS)
    assert record.facts(99.0).reason == reason


def test_texts_are_told_apart_by_channel() -> None:
    record = filled(*whole("hm", "analysis"), *whole("I look", "commentary"), MessageEnd(CALL), *whole("yes"))
    assert (record.analysis, record.commentary, record.text) == ("hm", "I look", "yes")
    assert record.calls == [CALL]


def test_several_deltas_merged_into_one_count_as_such() -> None:
    record = AnswerRecord(Effort.LOW)
    record.take(TextDelta("analysis", "so so so"), 1.0, deltas=3)
    assert record.facts(3.0).analysis_tokens == 3 and record.facts(3.0).analysis_s == 2.0
