"""What of an answer can be compared: a table of pairs that say the same, and of those that don't."""

import pytest

from mlx_model.pro.comparing import LONGEST, comparable

SAME = [
    ("3", "three"),
    ("3", "3.0"),
    ("3", "**3**"),
    ("3", 'There are 3 r\'s in "strawberry".'),
    ("3", "The word has three r's."),
    ("3", "\\boxed{3}"),
    ("3", "The answer is **3**."),
    ("3", "Answer: 3 apples"),
    ("3", "We spell it.\n\ns t r a w\n\n**Answer:** 3"),
    ("3", "Therefore the final answer is \\(3\\)."),
    ("3", "$3$"),
    ("3", "Antwort: 3"),
    ("85", "37 + 48 = 85"),
    ("85", "x = 85"),
    ("1234", "1,234"),
    ("1234", "1 234"),
    ("1234", "1'234"),
    ("3.14", "3,14"),
    ("2000000.0000001", "2000000.0"),
    ("0.3333333", "1/3"),
    ("0.75", "\\frac{3}{4}"),
    ("602000000000000000000000", "6.02 \u00d7 10^{23}"),
    ("6.02e23", "$6.02\\times10^{23}$"),
    ("-5", "\u22125"),
    ("75%", "75 percent"),
    ("$5", "5 dollars"),
    ("5 km", "5"),
    ("100 \u00b0C", "100\u00b0C"),
    ("B", "(B)"),
    ("B", "b)"),
    ("B", "B) Paris"),
    ("B", "Option B"),
    ("B", "The answer is B."),
    ("B", "A and C are wrong.\n\nThe correct answer is **B**"),
    ("Yes", "yes."),
    ("Yes", "True"),
    ("Yes, it is.", "**Yes** \u2013 by definition."),
    ("No", "no, never"),
    ("Paris", "paris."),
    ("Paris", "The capital of France is **Paris**."),
    ("Z\u00fcrich", "Zurich"),
    ("the Eiffel Tower", "Eiffel tower"),
    ('{"a": 1, "b": [2]}', '{"b": [2],\n "a": 1}'),
    ("[1, 2]", "```json\n[1, 2]\n```"),
    ("A pear", "pear"),
    ("42", "\\[ \\boxed{\\text{42}} \\]"),
    ("1990", "It was in 1990."),
    ("H2O", "h2o"),
]
DIFFERENT = [
    ("3", "4"),
    ("3", "-3"),
    ("1234567", "1234568"),
    ("1.23", "1.24"),
    ("5 km", "5 m"),
    ("$5", "5%"),
    ("3", "13"),
    ("B", "C"),
    ("A", "A pear"),
    ("Yes", "No"),
    ("No", "No problem!"),
    ("Paris", "Rome"),
    ("10:30", "10"),
    ("2024-01-02", "2024"),
    ("3.11.2", "3.11"),
    ("C++", "C"),
    ("GPT-4", "4"),
    ("3", "Three cats and four dogs"),
    ("6", "x=5, y=6"),
    ("one", "the one best thing"),
    ('{"a": 1}', '{"a": 2}'),
    ("1/0", "0"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_these_say_the_same(one: str, other: str) -> None:
    first, second = comparable(one), comparable(other)
    assert first is not None and second is not None
    assert first.agrees(second) and second.agrees(first)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_these_do_not(one: str, other: str) -> None:
    first, second = comparable(one), comparable(other)
    assert first is not None and second is not None
    assert not first.agrees(second) and not second.agrees(first)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "***",
        "A first paragraph.\n\nA second one.",
        "word " * LONGEST,
        "Merge sort halves the list, sorts both halves, and then merges them into one list again.",
        "The answer is: " + "it depends on what you mean, " * 10,
        "9" * 400,
    ],
)
def test_these_can_not_be_compared(text: str) -> None:
    assert comparable(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('There are 3 r\'s in "strawberry".', "3"),
        ('There are 5 s\'s in "possessions".', "5"),
        ("It is 5 km.", "5 km"),
        ("B) Paris", "B"),
        ("the **Eiffel Tower**", "Eiffel Tower"),
        ('{"a": "' + "long " * 20 + '"}', '{"a": "long long long long long long lo\u2026'),
    ],
)
def test_an_answer_is_shown_in_short(text: str, shown: str) -> None:
    found = comparable(text)
    assert found is not None and found.shown == shown
