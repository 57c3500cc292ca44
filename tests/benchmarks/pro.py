"""What a vote is worth on a toy: the demo model's letter counting, one sample beside a vote of several.

    python -m tests.benchmarks.pro [--questions 60] [--samples 8] [--efforts low medium high]

For each effort: letters of words that its training never asked about, each question answered several times at once at
temperature 1. One sample: the share of all samples that are right. Vote: the share of questions whose vote is right; a
vote that comes to nothing counts as its first sample. Gain: vote less one sample, with 1.96 standard errors over the
questions. Early: the same as vote where it stops by its rule, the samples heard in the order in which they ended, and
how many of them it has heard. Any: a sample is right, which a perfect choice would find. r is the mean correlation of
being wrong between two samples of a question: the vote is worth what N / (1 + (N - 1) r) independent ones would be.
A model of 3 million parameters says nothing of gpt-oss; what can be seen is the effect, and where it ends.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from assets.training.examples import EFFORTS, Effort
from assets.training.words import ALPHABET, phrases
from mlx_model import Model, Result, generate, load
from mlx_model.pro.comparing import comparable
from mlx_model.pro.votes import Tally

WORDS = phrases("""
    abilities, acceptance, accept, agents, artifacts, attached, become, behind, belongs, beyond, broken, browser,
    business, candidates, choice, command, comments, confirm, connection, constraint, decide, definition, desktop,
    device, directions, editorial, effect, effort, feature, fence, hello, indexes, indirect, keywords, killed, learning,
    limitation, mapping, misled, needed, negligent, neither, operations, optional, overwritten, padding, penalty,
    possibility, printed, question, refused, responsible, restarts, resulting, separable, statement, statistics,
    tolerance, weather, workflows
""")
"""Kept away from the training of the demo model (assets.training.words.held_out)."""


@dataclass(frozen=True, slots=True)
class Question:
    """The samples of one question, in the order in which they ended, and which of them are right."""

    texts: tuple[str, ...]
    right: tuple[bool, ...]

    def vote(self, *, stops: bool) -> tuple[bool, int]:
        """Whether the vote is right, and how many samples it has heard."""
        tally = Tally()
        for number, text in enumerate(self.texts):
            tally.add(number, text)
            if stops and tally.is_decided(len(self.texts) - number - 1):
                break
        leader = tally.leader
        return self.right[0 if leader is None else leader.voters[0]], tally.answers


def ask(model: Model, effort: Effort, samples: int, dice: random.Random, seed: int) -> Question:
    """A letter of a word: twice in three times one that it has."""
    word = dice.choice(WORDS)
    letter = dice.choice(word) if dice.random() < 2 / 3 else dice.choice(ALPHABET)
    prompt = f"How many {letter}'s are in {word}?"
    result = generate(model, prompt, effort=effort, samples=samples, combine="all", seed=seed)
    ended: Sequence[Result] = sorted(result.samples, key=lambda each: len(each.tokens))
    right = (_is_right(each.text, word.count(letter)) for each in ended)
    return Question(tuple(each.text for each in ended), tuple(right))


def _is_right(text: str, number: int) -> bool:
    said = comparable(text.replace("There are no ", "There are 0 "))
    expected = comparable(str(number))
    return said is not None and expected is not None and said.agrees(expected)


def correlation(questions: Sequence[Question]) -> float:
    """The mean correlation between two samples of a question; 0 where all are equally right."""
    share = mean(right for question in questions for right in question.right)
    spread = share * (1 - share)
    pairs = []
    for question in questions:
        hits, size = sum(question.right), len(question.right)
        pairs.append((hits * (hits - 1) - 2 * share * hits * (size - 1)) / (size * (size - 1)) + share * share)
    return mean(pairs) / spread if spread else 0.0


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pro")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--efforts", nargs="+", choices=EFFORTS, default=EFFORTS)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    model, samples = load("demo"), arguments.samples
    print("| effort | one sample | vote | gain | stopped early | samples heard | any | r | worth |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    began = time.perf_counter()
    for effort in arguments.efforts:
        dice = random.Random(arguments.seed)
        seeds = range(0, arguments.questions * samples, samples)
        questions = [ask(model, effort, samples, dice, seed) for seed in seeds]
        whole = [question.vote(stops=False) for question in questions]
        early = [question.vote(stops=True) for question in questions]
        r = correlation(questions)
        one = mean(right for question in questions for right in question.right)
        gains = [vote - mean(question.right) for question, (vote, _) in zip(questions, whole, strict=True)]
        cells = [
            f"{100 * one:.1f}%",
            f"{100 * mean(right for right, _ in whole):.1f}%",
            f"{100 * mean(gains):+.1f} \u00b1 {196 * stdev(gains) / len(gains) ** 0.5:.1f}",
            f"{100 * mean(right for right, _ in early):.1f}%",
            f"{mean(number for _, number in early):.1f}",
            f"{100 * mean(any(question.right) for question in questions):.1f}%",
        ]
        worth = samples / (1 + (samples - 1) * r)
        print(f"| {effort} | {' | '.join(cells)} | {r:.2f} | {worth:.1f} |", flush=True)

    print(f"\n{arguments.questions} questions, {samples} samples each, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
