"""Sentences of the program."""

import pytest

from app.lines import counted, sentence, speed, took


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("there is no file", "There is no file."),
        ("it's so: wait.", "It's so: wait."),
        ("notes.txt is empty", "notes.txt is empty."),
        ("top_p is 2", "top_p is 2."),
        ("mini.local can't be reached", "mini.local can't be reached."),
        ("gpt-oss-20b is not here", "gpt-oss-20b is not here."),
        ('"nope" is no model', '"nope" is no model.'),
        ("", "."),
    ],
)
def test_a_sentence_begins_with_a_capital_letter_unless_it_begins_with_a_name(text: str, said: str) -> None:
    """A file or an option is named as it is written, since that is what a person types next."""
    assert sentence(text) == said


def test_one_of_a_thing_is_no_plural() -> None:
    said = [
        counted(number, what) for number, what in ((0, "file"), (1, "file"), (1, "try"), (1_200, "try"), (2, "day"))
    ]
    assert said == ["0 files", "1 file", "1 try", "1,200 tries", "2 days"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *(
            (0.0, "<0.1 s"),
            (0.04, "<0.1 s"),
            (0.05, "0.1 s"),
            (2.46, "2.5 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
        ),
        *((48.3, "48 s"), (89.4, "89 s"), (89.6, "1 min 30 s"), (252.0, "4 min 12 s"), (3599.7, "1 h 0 min")),
        (6_000.0, "1 h 40 min"),
    ],
)
def test_a_time_is_no_more_exact_than_it_is_worth(seconds: float, said: str) -> None:
    assert took(seconds) == said


def test_nobody_reads_the_tenths_of_a_high_speed() -> None:
    assert [speed(each) for each in (0.13, 42.0, 99.94, 99.96, 777.7)] == [
        *("0.1 tok/s", "42.0 tok/s", "99.9 tok/s", "100 tok/s", "778 tok/s")
    ]
