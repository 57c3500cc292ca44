"""The ids the model spelt its messages with: bounded, the least recently used go first."""

from mlx_model.generation.sampled import SampledIds
from mlx_model.harmony.message import assistant

A, B, C = (assistant(text) for text in "abc")


def test_what_was_used_longest_ago_goes_first() -> None:
    sampled = SampledIds(10)
    sampled.add({A: [1, 2, 3, 4], B: [5, 6, 7, 8]})
    assert list(sampled[A]) == [1, 2, 3, 4]
    sampled.add({C: [9, 10]})
    assert set(sampled) == {A, B, C}
    sampled.add({C: [9, 10, 200_018]})
    assert set(sampled) == {A, C}
    assert list(sampled[C]) == [9, 10, 200_018]
    assert B not in sampled
    assert len(sampled) == 2


def test_the_count_follows_what_is_replaced() -> None:
    sampled = SampledIds(4)
    for _ in range(5):
        sampled.add({A: [1, 2]})
    sampled.add({B: [3, 4]})
    assert set(sampled) == {A, B}


def test_a_message_longer_than_all_there_is_room_for_is_not_kept() -> None:
    sampled = SampledIds(2)
    sampled.add({A: [1, 2, 3]})
    assert len(sampled) == 0
