"""Sentences of the program."""

import pytest

from app.lines import counted, sentence


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
