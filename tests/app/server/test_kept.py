"""What a server keeps between requests: thoughts by the ids of calls, responses by theirs. Both are bounded."""

from typing import Any

import pytest

from app.server.errors import ApiError
from app.server.stored import Stored, StoredResponse
from app.server.thoughts import Thoughts
from mlx_model.harmony.message import Message, Role, assistant, system, user
from tests.fixtures.scripted_engine import call

ASKED = [user("Weather?")]
CALL = Message(Role.ASSISTANT, '{"city":"Oslo"}', None, "analysis", "functions.f", "json", recovered=True)
ANSWER = [assistant("Call it.", "analysis"), assistant("I look.", "commentary"), CALL]
RETURNED = call("functions.f", '{"city":"Oslo"}')


def restored(thoughts: Thoughts, id: str, before: list[Message], returned: Message) -> list[Message]:
    messages = list(before)
    thoughts.restoring().add_call(id, messages, returned)
    return messages


@pytest.fixture
def thoughts() -> Thoughts:
    thoughts = Thoughts()
    thoughts.remember("call_1", ASKED, ANSWER)
    return thoughts


@pytest.mark.parametrize(
    "given",
    [
        [],
        [assistant("I look.", "commentary")],
        [assistant("Call it.", "analysis")],
        [assistant("Call it.", "analysis"), assistant("I look.", "final")],
    ],
)
def test_a_call_gets_its_thought_back_as_it_was(thoughts: Thoughts, given: list[Message]) -> None:
    assert restored(thoughts, "call_1", [*ASKED, *given], RETURNED) == [*ASKED, *ANSWER]


def test_two_messages_in_one_text_are_what_the_model_said(thoughts: Thoughts) -> None:
    """Chat Completions joins them; thoughts are not among them."""
    answer = [ANSWER[0], ANSWER[1], assistant("", "commentary"), assistant("And there.", "commentary"), CALL]
    thoughts.remember("call_2", ASKED, answer)
    returned = [*ASKED, assistant("I look.\n\nAnd there.", "commentary")]
    assert restored(thoughts, "call_2", returned, RETURNED) == [*ASKED, *answer]


def test_arguments_may_be_written_anew(thoughts: Thoughts) -> None:
    assert restored(thoughts, "call_1", ASKED, call("functions.f", '{ "city": "Oslo" }')) == [*ASKED, *ANSWER]


def test_new_instructions_are_no_other_conversation(thoughts: Thoughts) -> None:
    opening = [system("Be brief."), *ASKED]
    assert restored(thoughts, "call_1", opening, RETURNED) == [*opening, *ANSWER]


@pytest.mark.parametrize(
    ("id", "before", "returned"),
    [
        ("call_2", ASKED, RETURNED),
        ("call_1", [user("Other?")], RETURNED),
        ("call_1", [*ASKED, *ASKED], RETURNED),
        ("call_1", [*ASKED, assistant("Something else.", "analysis")], RETURNED),
        ("call_1", ASKED, call("functions.f", '{"city": "Rome"}')),
    ],
)
def test_nothing_is_put_where_it_does_not_belong(
    thoughts: Thoughts, id: str, before: list[Message], returned: Message
) -> None:
    assert restored(thoughts, id, before, returned) == [*before, returned]


def test_each_message_is_hashed_once_however_many_calls_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    thoughts, whole = Thoughts(), list(ASKED)
    calls = [call("functions.f", f'{{"number": {number}}}') for number in range(50)]
    result = Message(Role.TOOL, "rain", "functions.f", "commentary", "assistant")
    for number, each in enumerate(calls):
        answer = [assistant(f"Call {number}.", "analysis"), each]
        thoughts.remember(str(number), whole, answer)
        whole += [*answer, result]
    hashed: list[object] = []

    def counted(pair: object) -> int:
        hashed.append(pair)
        return hash(pair)

    monkeypatch.setattr("app.server.thoughts.hash", counted, raising=False)
    messages, restoring = list(ASKED), thoughts.restoring()
    for number, each in enumerate(calls):
        restoring.add_call(str(number), messages, each)
        messages.append(result)
    assert messages == whole and len(hashed) == len(whole) - 3  # nothing comes behind the last call


def test_thoughts_are_bounded() -> None:
    thoughts = Thoughts(most_characters=100)
    for number in range(50):
        thoughts.remember(f"call_{number}", ASKED, ANSWER)
    assert len(thoughts) == 3
    assert restored(thoughts, "call_47", ASKED, RETURNED) == [*ASKED, *ANSWER]
    thoughts.remember("call_50", ASKED, ANSWER)  # the one that was just used stays
    assert restored(thoughts, "call_47", ASKED, RETURNED) == [*ASKED, *ANSWER]
    assert restored(thoughts, "call_48", ASKED, RETURNED) == [*ASKED, RETURNED]


def response(id: str, text: str = "") -> StoredResponse:
    output: list[dict[str, Any]] = [{"id": f"msg_{id}", "type": "message"}]
    return StoredResponse({"id": id, "output": output}, [], (user(text),))


def test_stored_responses_are_bounded_by_number_and_size() -> None:
    stored = Stored(most=3)
    for id in "abc":
        stored.add(response(id))
    stored.get("a")
    stored.add(response("d"))
    assert len(stored) == 3 and stored.get("a").response["id"] == "a"
    with pytest.raises(ApiError) as caught:
        stored.get("b", "param", "code")
    assert (caught.value.status, caught.value.param, caught.value.code) == (404, "param", "code")
    few = Stored(most_bytes=3000)
    for number in range(10):
        few.add(response(str(number), "x" * 900))
    assert len(few) == 3
    few.delete("9")
    assert len(few) == 2
    few.add(response("huge", "x" * 5000))
    assert len(few) == 0


def test_items_are_found_by_their_ids() -> None:
    stored = Stored()
    stored.add(response("a"))
    assert stored.item("msg_a", "input[0].id")["type"] == "message"
    with pytest.raises(ApiError):
        stored.item("msg_b", "input[0].id")
