"""Counting, and the rule by which a vote stops early."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_model.pro.votes import Tally


def tally(*texts: str) -> Tally:
    counted = Tally()
    for number, text in enumerate(texts):
        counted.add(number, text)
    return counted


def test_votes_are_counted_and_ordered() -> None:
    counted = tally("41", "42", "It is **42**.", "Prose,\n\nof which nothing can be compared.", "41")
    assert [(count.answer, count.voters) for count in counted.counts] == [("41", (0, 4)), ("42", (1, 2))]
    assert (counted.answers, counted.abstentions, counted.is_tied) == (5, 1, True)
    assert counted.leader is not None and counted.leader.answer == "41"  # of equals that of the lowest number


@pytest.mark.parametrize(
    "texts",
    [
        (),
        ("42",),
        ("Paris", "Rome", "Oslo"),  # no two agree
        ("42", "42", "a\n\nb", "c\n\nd"),  # as many can't be compared
    ],
)
def test_without_agreement_there_is_no_leader(texts: tuple[str, ...]) -> None:
    assert tally(*texts).leader is None
    assert not tally(*texts).is_decided(coming=1)


@pytest.mark.parametrize(
    ("votes", "coming", "decided"),
    [
        ("aaa", 5, False),  # 94%
        ("aaaa", 12, True),  # 97%
        ("aaaaab", 10, False),  # 94%
        ("aaaaaab", 9, True),  # 96%
        ("aaabb", 1, False),
        ("aab", 1, False),  # a tie may come
        ("aaab", 1, True),
        ("aaa", 2, True),
        ("aa", 1, True),
        ("aaaa", 0, False),  # nothing to stop
    ],
)
def test_when_a_vote_stops(votes: str, coming: int, decided: bool) -> None:
    texts = [{"a": "41", "b": "42"}[vote] for vote in votes]
    assert tally(*texts).is_decided(coming) is decided


@given(st.lists(st.sampled_from(["1", "2", "3", "x\n\ny"]), max_size=9), st.lists(st.sampled_from("123"), max_size=3))
def test_what_can_not_be_caught_up_with_stays_the_leader(before: list[str], after: list[str]) -> None:
    counted, whole = tally(*before), tally(*before, *after)
    first, second = [*(count.votes for count in counted.counts), 0, 0][:2]
    if counted.is_decided(len(after)) and first > second + len(after):
        assert whole.leader is not None and counted.leader is not None
        assert whole.leader.answer == counted.leader.answer
