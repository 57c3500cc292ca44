"""Titles by the model: when one is wanted, what is asked, what is made of the reply."""

import pytest

from app.chat.conversation import AnswerFacts, Conversation
from app.chat.titles import MAX_TOKENS, PROMPT, clean_title, title_request, wants_title
from mlx_model.harmony.message import Effort, assistant, user
from mlx_model.options import Options
from tests.fixtures.trees import TURN


def answered(reason: str = "stop") -> Conversation:
    tree = Conversation()
    facts = AnswerFacts("gpt-oss-20b", Effort.HIGH, reason)
    tree.add_answer(tree.add_prompt("Name a fruit", None).id, facts, [assistant("hm", "analysis"), assistant("Pear.")])
    return tree


def test_a_title_is_wanted_after_the_first_answer_alone() -> None:
    tree = answered()
    assert wants_title(tree)
    tree.rename("My fruit")
    assert not wants_title(tree)
    tree = answered()
    tree.add_answer(tree.path[0].id, TURN, [assistant("Plum.")])
    assert not wants_title(tree)  # another version
    tree = answered()
    tree.add_prompt("And now?", tree.leaf)
    assert not wants_title(tree)
    assert not wants_title(Conversation()) and not wants_title(answered("cancelled"))


def test_the_request_goes_on_with_the_conversation_as_it_was_asked() -> None:
    tree = answered()
    request = title_request(tree, Options(effort=Effort.LOW, temperature=0.7, stop=("x",), seed=1), "Be brief.")
    assert request.messages == (*tree.for_engine(), user(PROMPT)) and request.instructions == "Be brief."
    assert request.options == Options(
        effort=Effort.HIGH, temperature=0.0, seed=1, max_tokens=MAX_TOKENS, max_thinking=0
    )


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Fruits that begin with P", "Fruits that begin with P"),
        ('"A pear."', "A pear"),
        ("**Title: \u201cA pear\u201d**", "A pear"),
        ("\n# Pears and plums...\nmore", "Pears and plums"),
        ("What is a pear?", "What is a pear?"),
        ("\x1b[31mred\u202e", "\u241b[31mred"),
        ("word " * 30, "word word word word word word word word word\u2026"),
        (' "" \n', ""),
        ("", ""),
    ],
)
def test_a_title_is_one_clean_line(text: str, title: str) -> None:
    assert clean_title(text) == title
