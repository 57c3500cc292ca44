"""What is wrong with an item, told by code: a table of good and bad ones."""

import pytest

from app.dataset.checks import Drop, duplicate, four_choices, grounded, leaked, says_the_same, shape

QUOTE = "The heating of hall 2 was replaced on 14 March 2019 for 41,250 euros, because its pump leaked."


@pytest.mark.parametrize(
    ("answer", "same_language", "expected"),
    [
        ("41,250 euros", True, None),
        ("on 14 March 2019", True, None),
        ("because the pump was leaking", True, None),
        ("a leaking pump", True, None),
        ("42,250 euros", True, Drop.UNGROUNDED),
        ("in 2018", True, Drop.UNGROUNDED),
        ("a broken valve of the boiler", True, Drop.UNGROUNDED),
        ("weil die Pumpe undicht war", True, Drop.UNGROUNDED),
        ("weil die Pumpe undicht war", False, None),
        ("41,251 Euro", False, Drop.UNGROUNDED),
    ],
)
def test_grounded(answer: str, same_language: bool, expected: Drop | None) -> None:
    assert grounded(answer, QUOTE, same_language=same_language) is expected


def test_grounded_in_a_script_without_spaces() -> None:
    assert grounded("四十一元", "第二行说明水费是四十一元。", same_language=True) is None
    assert grounded("五百", "第二行说明水费是四十一元。", same_language=True) is Drop.UNGROUNDED


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("What did the heating of hall 2 cost?", "41,250 euros", None),
        ("What did the heating of 41,250 euros replace?", "41,250 Euros", Drop.LEAKED),
        ("Why did the pump leak, given that it was OLD?", "old", Drop.LEAKED),
        ("What is the boldest claim about pumps?", "old", None),
        ("What does the passage say about the heating?", "it was replaced", Drop.LEANING),
        ("According to the text, when was it replaced?", "in March", Drop.LEANING),
        ("What does the author think of the pump?", "too loud", Drop.LEANING),
        ("What is the sum in this table?", "12", Drop.LEANING),
        ("Was steht im Text über die Pumpe?", "undicht", Drop.LEANING),
        ("Which text editor did the team use?", "vi", None),
    ],
)
def test_leaked_and_leaning(question: str, answer: str, expected: Drop | None) -> None:
    assert leaked(question, answer) is expected


def test_shape_and_choices() -> None:
    assert shape("What did it cost?", "41 euros") is None
    assert shape("What?", "41") is shape("What did it cost?", " ... ") is shape("a" * 500, "b") is Drop.SHAPE
    assert four_choices(["1 bar", "2 bar", "3 bar", "4 bar"]) is None
    assert four_choices(["1 bar", "2 bar", "3 bar", "3  Bar."]) is four_choices(["1", "2", "3", ""]) is Drop.CHOICES


@pytest.mark.parametrize(
    ("question", "answer", "quote", "expected"),
    [
        ("when was the heating replaced", "2019", "another quote", Drop.DUPLICATE),
        ("In which year was the heating of hall 2 replaced?", "14 March 2019", QUOTE, Drop.DUPLICATE),
        ("What was the cost of the heating?", "41,250 euros", QUOTE, None),
        ("How often is machine M2 oiled in a year, as a rule?", "twice", "M2 is oiled twice", None),
        ("How often is machine M1 oiled in one year, as a rule?", "twice", "M2 is oiled twice", Drop.DUPLICATE),
    ],
)
def test_duplicates(question: str, answer: str, quote: str, expected: Drop | None) -> None:
    others = [
        ("When was the heating replaced?", "14 March 2019", QUOTE),
        ("How often is machine M1 oiled in a year, as a rule?", "twice", "M1 is oiled twice"),
    ]
    assert duplicate(question, answer, quote, others) is expected


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        ("It was 41,250 euros.", "41,250 euros", True),
        ("Its pump leaked", "because its pump leaked", True),
        ("41,251 euros", "41,250 euros", False),
        ("I do not know.", "2019", False),
        ("", "2019", False),
        ("2019", "", False),
    ],
)
def test_a_free_answer_is_compared(said: str, right: str, expected: bool) -> None:
    assert says_the_same(said, right) is expected
