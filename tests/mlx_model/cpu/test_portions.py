"""The portions of a product's rows: all rows once, and long portions before short ones."""

import random
from itertools import pairwise

from mlx_model.cpu.kernels.portions import portion, portions, shortest


def test_every_row_is_in_one_portion() -> None:
    draw = random.Random(4)
    for _ in range(500):
        rows, threads, least = draw.randint(1, 10_000), draw.randint(1, 16), draw.choice([1, 8, 40, 64, 320])
        found = [portion(index, rows, threads, least) for index in range(portions(rows, threads, least))]
        assert [first for first, _ in found] == [0, *(end for _, end in found[:-1])]
        assert found[-1][1] == rows
        lengths = [end - first for first, end in found]
        assert all(later <= earlier for earlier, later in pairwise(lengths))
        assert all(length % least == 0 for length in lengths[:-1])
        assert max(lengths) <= max(least, min(rows / (2 * threads), 16 * least))


def test_the_end_is_shared_in_short_portions() -> None:
    rows, threads, least = 5760, 2, 40
    lengths = [
        end - first for first, end in (portion(i, rows, threads, least) for i in range(portions(rows, threads, least)))
    ]
    assert lengths[0] == 16 * least
    assert lengths[-2:] == [least, least]
    assert len(lengths) < rows / least / 4


def test_the_shortest_is_worth_a_ticket_and_has_whole_panels() -> None:
    assert shortest(2880, 1, 8) == 40
    assert shortest(2880, 1, 64) == 64
    assert shortest(2880, 32, 8) == 8
    assert shortest(64, 1, 8) == 2048
