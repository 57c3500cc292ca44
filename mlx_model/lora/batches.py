"""Which examples a step learns from, and how they are packed: a function of the seed and the step alone."""

from collections.abc import Sequence

import numpy as np

from mlx_model.lora.examples import Example, row_of
from mlx_model.lora.forward import Row


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Those to learn from, and a share of the conversations that is held out: at least one, where there are two."""
    places = list(dict.fromkeys(example.where for example in examples))
    count = min(len(places) - 1, max(1, round(share * len(places)))) if share else 0
    chosen = np.random.default_rng([seed, 0]).permutation(len(places))[:count]
    held_out = {places[at] for at in chosen}
    return (
        [example for example in examples if example.where not in held_out],
        [example for example in examples if example.where in held_out],
    )


def batch_of(examples: Sequence[Example], size: int, seed: int, step: int) -> list[Example]:
    """The examples of a step. An epoch has each once, in an order of its own."""
    steps = -(-len(examples) // size)
    order = np.random.default_rng([seed, 1, step // steps]).permutation(len(examples))
    at = step % steps * size
    return [examples[index] for index in order[at : at + size]]


def packed(examples: Sequence[Example], length: int) -> list[Row]:
    """Examples in rows of at most `length` tokens, as few as come of putting the longest first where it fits."""
    rows: list[list[Example]] = []
    for example in sorted(examples, key=lambda example: -len(example.ids)):
        for row in rows:
            if sum(len(other.ids) for other in row) + len(example.ids) <= length:
                row.append(example)
                break
        else:
            rows.append([example])
    return [row_of(row) for row in rows]
