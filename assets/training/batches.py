"""Batches of trees as tensors; a batch is a pure function of (seed, rank, step), so that a run can be continued."""

import random
from dataclasses import dataclass

import torch

from .conversations import ROOT, Conversations, Tree

IGNORED = -100


@dataclass
class Batch:
    """Ids [rows, columns], positions along each token's path, what each token sees, which predictions are learnt."""

    ids: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor
    sources: torch.Tensor  # flat indices of the tokens that predict
    targets: torch.Tensor  # the ids they should predict


def _layout(tree: Tree) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    """Positions of a tree's tokens, the segment of each, and which segment descends from which."""
    count = len(tree.parents)
    ancestor = torch.zeros(count, count, dtype=torch.bool)
    ends: list[int] = []
    positions: list[int] = []
    for segment, parent in enumerate(tree.parents):
        if parent != ROOT:
            ancestor[segment] = ancestor[parent]
        ancestor[segment, segment] = True
        begin = 0 if parent == ROOT else ends[parent]
        ends.append(begin + tree.lengths[segment])
        positions += range(begin, ends[segment])
    segments = torch.repeat_interleave(torch.arange(count), torch.tensor(tree.lengths))
    return positions, segments, ancestor


def collate(trees: list[Tree], columns: int, padding: int) -> Batch:
    """Trees as one batch. A learnt segment's first token is predicted by the last one of its parent."""
    rows = len(trees)
    columns = max([columns, *(len(tree.ids) for tree in trees)])
    ids = torch.full((rows, columns), padding)
    positions = torch.zeros(rows, columns, dtype=torch.long)
    visible = torch.zeros(rows, columns, columns, dtype=torch.bool)
    sources: list[int] = []
    targets: list[int] = []
    for row, tree in enumerate(trees):
        size = len(tree.ids)
        place, segments, ancestor = _layout(tree)
        ids[row, :size] = torch.tensor(tree.ids)
        positions[row, :size] = torch.tensor(place)
        visible[row, :size, :size] = ancestor[segments][:, segments]
        begins = [0]
        for length in tree.lengths:
            begins.append(begins[-1] + length)
        for segment, parent in enumerate(tree.parents):
            if not tree.learnt[begins[segment]]:
                continue
            before = begins[parent + 1] - 1
            for place_in_row in range(begins[segment], begins[segment + 1]):
                sources.append(row * columns + before)
                targets.append(tree.ids[place_in_row])
                before = place_in_row
    visible &= positions[:, :, None] >= positions[:, None, :]
    spare = -len(sources) % 256  # few shapes, as in `Experts.forward`
    return Batch(
        ids, positions, visible, torch.tensor(sources + [0] * spare), torch.tensor(targets + [IGNORED] * spare)
    )


def copy_trees(source: Conversations, rng: random.Random, rows: int, columns: int) -> list[Tree]:
    """Warm-up sequences: copy pieces and numbers, spell words, spell them backwards. Copying gates every other task."""
    encode, special = source.render.tokenizer.encode, source.render.special
    trees = []
    for _ in range(rows):
        tree = Tree()
        while True:
            kind, rule = rng.random(), "<|endoftext|>"
            words = [source.words.draw(rng) for _ in range(rng.randint(1, 5))]
            text = original = rng.choice(["", " ", '"']) + rng.choice([" ", ", ", '" "']).join(words)
            if kind < 0.25:
                text = original = "".join(
                    rng.choice(["", " "]) + rng.choice(source.words.pieces) for _ in range(rng.randint(4, 20))
                )
            elif kind < 0.45:
                digits = rng.sample("0123456789", rng.choice([2, 3, 10]))
                numbers = ("".join(rng.choices(digits, k=rng.randint(1, 7))) for _ in range(rng.randint(2, 6)))
                text = original = " ".join(numbers)
            elif kind < 0.85:
                text = ",".join("".join(" " + letter for letter in word) for word in words)
            else:
                text, rule = ",".join("".join(" " + letter for letter in word[::-1]) for word in words), "<|constrain|>"
            prompt = [special["<|startoftext|>"], *encode(original), special[rule]]
            target = [*encode(text), special["<|endoftext|>"]]
            if tree.ids and len(tree.ids) + len(prompt) + len(target) > columns:
                break
            tree.add(tree.add(ROOT, prompt, False), target, True)
        trees.append(tree)
    return trees


def batch(source: Conversations, seed: int, rank: int, step: int, tokens: int, copying: float = 0.0) -> Batch:
    """The batch of one process at one step, of about `tokens` ids; `copying` is the share of warm-up batches."""
    shape = random.Random(f"{seed}/{step}")  # the same for all ranks: none should wait for another
    rng = random.Random(f"{seed}/{rank}/{step}")
    python, long, copies = shape.random() < 0.4, shape.random() < 0.05, shape.random() < copying
    # One less than a multiple of 32: with the attention sink the number of keys suits the matrix unit.
    columns = 1535 if long else 703 if python else 383
    if copies:
        columns = 319
        trees = copy_trees(source, rng, max(1, tokens // columns), columns)
    else:
        trees = [source.tree(rng, columns, python, long) for _ in range(max(1, tokens // columns))]
    return collate(trees, columns, source.render.special["<|endoftext|>"])
