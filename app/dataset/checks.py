"""What is wrong with an item that a model has written, told by code: it is dropped then, and counted by its reason."""

import re
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from mlx_model.documents.quotes import folded


class Drop(StrEnum):
    """Why an item is no part of the set, as the report says it."""

    CUT_OFF = "the model's answer was cut off, or not of the form that was asked for"
    TOO_LONG = "the passage does not fit into the context"
    NOTHING = "the model found nothing to ask about"
    QUOTE = "the quote is not in the text"
    UNGROUNDED = "the answer does not follow from the quote"
    WRONG = "the answer is wrong"
    LEAKED = "the question has the answer in it"
    LEANING = "the question points at the passage, which the reader does not have"
    CHOICES = "the choices are not four different ones"
    SHAPE = "the question or the answer is empty or too long"
    DUPLICATE = "the set has this question already"
    KNOWN = "the model knows the answer without the document"


LONGEST_QUESTION, LONGEST_ANSWER, LONGEST_QUOTE = 400, 200, 600
"""Characters."""
_ALIKE, _SAME = 0.9, 0.7
"""The share of words that two questions have in common where they ask the same, and an answer with the right one."""
_STEM = 5
"""Letters that two forms of one word have in common."""
_HELD = 0.5
"""Of the words of an answer, the share that its quote has to have: the rest may be put differently."""

_POINTING = re.compile(
    r"\b(?:(?:in|from|by|of|to|per) (?:the|this) (?:(?:given|above|provided|following) )?"
    r"(?:passage|text|excerpt|document|paragraph|snippet|section|quote)"
    r"|(?:the|this|that) (?:passage|excerpt|snippet|text|quote)|the authors?\b|(?:this|the (?:above|following)) "
    r"(?:table|figure|list|page|paper|sentence|section)"
    r"|(?:mentioned|described|listed|shown|stated|given) (?:above|below|here)"
    r"|(?:im|laut|aus dem|dieser?m?|der) (?:text|abschnitt|textabschnitt|passage|auszug)\b"
    r"|(?:dans|selon|d'apr[eè]s) (?:le|ce|cet) (?:texte|passage|extrait|document)"
    r"|(?:en|seg[uú]n) (?:el|este) (?:texto|pasaje|fragmento|documento))",
    re.IGNORECASE,
)


def shape(question: str, answer: str) -> Drop | None:
    """Whether there is something to ask and to answer, in bounds."""
    is_fine = 8 <= len(question) <= LONGEST_QUESTION and folded(answer) and len(answer) <= LONGEST_ANSWER
    return None if is_fine else Drop.SHAPE


def grounded(answer: str, quote: str, *, same_language: bool) -> Drop | None:
    """Whether an answer follows from a quote: all its numbers stand there, and half of its words, if they are of one
    language."""
    there, said = set(folded(quote).split()), folded(answer).split()
    if not there.issuperset(_numbers(said)):
        return Drop.UNGROUNDED
    words = [word for word in said if len(word) > 3 or not word.isascii()] or said
    stems = {word[:_STEM] for word in there}
    held = sum(word[:_STEM] in stems for word in words)
    return Drop.UNGROUNDED if same_language and held < _HELD * len(words) else None


def leaked(question: str, answer: str) -> Drop | None:
    """Whether a question gives its answer away, or can't be understood by who has the question alone."""
    if f" {folded(answer)} " in f" {folded(question)} ":
        return Drop.LEAKED
    return Drop.LEANING if _POINTING.search(question) else None


def four_choices(choices: Collection[str]) -> Drop | None:
    """Whether there are four, no two of them the same."""
    is_fine = len({folded(choice) for choice in choices} - {""}) == 4 and all(len(c) <= LONGEST_ANSWER for c in choices)
    return None if is_fine else Drop.CHOICES


def duplicate(question: str, answer: str, quote: str, others: Iterable[tuple[str, str, str]]) -> Drop | None:
    """Whether one of the other questions, with its answer and quote, asks the same."""
    for other in others:
        common = sum(folded(one) == folded(two) for one, two in zip((answer, quote), other[1:], strict=True))
        if folded(question) == folded(other[0]) or common == 2 or (common and _same_question(question, other[0])):
            return Drop.DUPLICATE
    return None


def says_the_same(answer: str, right: str) -> bool:
    """Whether a free answer is the right one: it has its words in a row, or all its numbers and most of its words."""
    said, meant = folded(answer).split(), folded(right).split()
    if not said or not meant:
        return False
    if f" {' '.join(meant)} " in f" {' '.join(said)} ":
        return True
    return _numbers(meant) <= set(said) and _alike(said, meant) >= _SAME


def _same_question(one: str, other: str) -> bool:
    first, second = folded(one).split(), folded(other).split()
    return _numbers(first) == _numbers(second) and _alike(first, second) >= _ALIKE


def _alike(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of words that two texts have in common: 1 for the same words."""
    return 2 * len({*one} & {*other}) / (len({*one}) + len({*other}))


def _numbers(words: Iterable[str]) -> set[str]:
    return {word for word in words if any(char.isdigit() for char in word)}
