"""What the model is asked for an item of each kind, and what is made of its answer."""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from app.dataset.checks import Drop
from app.dataset.kinds import KINDS, NO, YES, Draft, Dropped, Try, value_of, with_letters
from app.dataset.passages import Passage

TEXT = "```\nHall 2 was heated by a pump of 41 kW until 2019, which leaked.\n```"
PASSAGE = Passage("heat.pdf", 0, 0, TEXT, "Pumps")
WRONG = {"wrong_1": "14 kW", "wrong_2": "40 kW", "wrong_3": "410 kW"}
GOOD = {"quote": "a pump of 41 kW", "question": "How strong was the pump of hall 2?", "answer": "41 kW"}


def reason(kind: str, value: Mapping[str, Any], seed: int = 0, language: str | None = None) -> Drop | None:
    try:
        KINDS[kind](language).draft(value, Try(PASSAGE, "easy", seed))
    except Dropped as dropped:
        return dropped.reason
    return None


def test_what_the_model_reads() -> None:
    prompt = KINDS["qa"]("German").prompt(Try(PASSAGE, "hard", 1, ("What leaked?",)))
    assert prompt.startswith('From the file "heat.pdf", section "Pumps":\n````\n```\nHall 2')
    assert "several places" in prompt and prompt.endswith("ask for something else:\n- What leaked?")
    assert "in German" in KINDS["qa"]("German").instructions
    assert "in the language of the passage" in KINDS["qa"](None).instructions


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("qa", {}, None),
        ("qa", {"quote": " "}, Drop.NOTHING),
        ("qa", {"answer": "42 kW"}, Drop.UNGROUNDED),
        ("qa", {"question": "Was it a pump of 41 kW in hall 2?"}, Drop.LEAKED),
        ("qa", {"answer": ""}, Drop.SHAPE),
        ("qa", {"answer": 41}, Drop.CUT_OFF),
        ("choice", WRONG, None),
        ("choice", {}, Drop.CUT_OFF),
        ("choice", {**WRONG, "wrong_2": "41 KW"}, Drop.CHOICES),
        ("choice", {**WRONG, "answer": "42 kW"}, Drop.UNGROUNDED),
        ("choice", {**WRONG, "question": "What is 41 kW strong?"}, Drop.LEAKED),
    ],
)
def test_what_is_dropped(kind: str, change: Mapping[str, Any], expected: Drop | None) -> None:
    assert reason(kind, {**GOOD, **change}) is expected


def test_another_language_has_other_words() -> None:
    value = {**GOOD, "question": "Was geschah mit der Pumpe?", "answer": "undicht"}
    assert reason("qa", value) is Drop.UNGROUNDED and reason("qa", value, language="German") is None


def test_the_right_choice_comes_to_any_place() -> None:
    choice = KINDS["choice"](None)
    drafts = [choice.draft({**GOOD, **WRONG}, Try(PASSAGE, "easy", seed)) for seed in range(40)]
    assert {draft.choices.index("41 kW") for draft in drafts} == {0, 1, 2, 3}
    assert all(sorted(draft.choices) == sorted(["41 kW", *WRONG.values()]) for draft in drafts)
    draft = drafts[0]
    right = "ABCD"[draft.choices.index("41 kW")]
    assert [letter for letter in "ABCD" if choice.knows(letter, draft)] == [right]
    assert with_letters("How strong?", draft.choices).split("\n")[1] == f"A. {draft.choices[0]}"


def test_yes_and_no_are_asked_for_in_turn() -> None:
    boolean = KINDS["boolean"](None)
    value = {"quote": "a pump of 41 kW", "question": "Did the pump of hall 2 have 41 kW?"}
    said = [YES if f"is {YES}." in boolean.prompt(Try(PASSAGE, "easy", seed)) else NO for seed in range(20)]
    assert {YES, NO} == {*said}
    for seed, right in enumerate(said):
        other = NO if right == YES else YES
        assert reason("boolean", {**value, "answer": right}, seed) is None
        assert reason("boolean", {**value, "answer": other}, seed) is Drop.WRONG


def test_letters_are_counted() -> None:
    letters, wanted = KINDS["letters"](None), Try(PASSAGE, "easy", 3)
    _, _, char, *_, word = letters.prompt(wanted).rstrip("?").split(" ")
    right = word.count(char[0])
    assert word in TEXT and right >= 1
    assert letters.draft({"answer": right}, wanted) == Draft(letters.prompt(wanted), str(right), word)
    assert reason("letters", {"answer": right + 1}, 3) is Drop.WRONG
    with pytest.raises(Dropped):
        letters.prompt(Try(Passage("a", 0, 0, "41 kW 2019"), "easy", 3))


@pytest.mark.parametrize("text", ["", "[1]", '{"a": ', "{" * 100_000, "nothing"])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(Dropped):
        value_of(text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_are_strict(kind: str) -> None:
    made = KINDS[kind](None)
    for schema in (made.schema, made.alone or made.schema):
        jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(schema)))
        assert [*schema["properties"]] == schema["required"] and schema["additionalProperties"] is False
