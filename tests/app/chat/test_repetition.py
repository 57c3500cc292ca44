"""Circles in a thought: what counts as one, and what doesn't."""

import pytest

from app.chat.repetition import Repetition

PASSAGE = "We need to compute the sum of the first hundred squares."


def found(text: str, step: int = 3) -> bool:
    """As it comes: in pieces."""
    repetition = Repetition()
    for start in range(0, len(text), step):
        repetition.take(text[start : start + step])
    return repetition.found


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "text",
    [
        f"{PASSAGE} " * 3 + "And",
        f"{PASSAGE}\n" * 3,
        f"{PASSAGE} Hmm. {PASSAGE}  But wait.\n {PASSAGE.replace(' ', '  ')}\n",
        "x = some_function_with_a_long_name(argument, other)\n" * 3,
        "我们需要计算前一百个平方数的总和、然后再检查一遍这个结果是否真的正确、最后把它写成一个简短而清楚的答案。" * 3,
    ],
)
def test_a_passage_that_comes_three_times(text: str, step: int) -> None:
    assert found(text, step)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{PASSAGE} " * 2,
        "Let me check that. " * 50,
        "".join(f"Row {row} of the table has the value {row * row}, as computed.\n" for row in range(500)),
        f"{PASSAGE} " * 2 + "".join(f"Something else, number {n}, of some length.\n" for n in range(500)) + PASSAGE,
        "word " * 5000,
    ],
)
def test_no_circle(text: str) -> None:
    assert not found(text + "\n")


def test_it_stays_found() -> None:
    repetition = Repetition()
    repetition.take(f"{PASSAGE}\n" * 3 + "And now for something else.\n" * 10)
    assert repetition.found


def test_memory_is_bounded() -> None:
    repetition = Repetition()
    for row in range(2000):
        repetition.take(f"Line number {row} of a very long thought without an end\n")
    repetition.take("x" * 5000)
    assert len(repetition._passages) == len(repetition._counts) == 400
    assert len(repetition._rest) < 1001
