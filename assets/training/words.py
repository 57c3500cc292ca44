"""The words that the letter tasks ask about, split into training and held-out ones."""

import random
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def phrases(text: str) -> tuple[str, ...]:
    """The comma-separated parts of a text of any number of lines."""
    return tuple(part.strip() for part in text.split(","))


# What people try first. They are trained often, and therefore never counted as held out.
FAMOUS = phrases("""
    strawberry, strawberry, strawberry, banana, mississippi, raspberry, blueberry, bookkeeper, tomorrow,
    committee, hello, apple, cranberry, blackberry, google, python, coffee, cheese, pepper, letter,
    butterfly, balloon, elephant, pineapple
""")


def held_out(text: str) -> bool:
    """Whether a word, a pair of operands or a phrasing (one in ten) is kept away from the training."""
    return zlib.crc32(text.encode()) % 10 == 0


@lru_cache(maxsize=1)
def dictionary() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """English words of 3 to 14 letters as (training, held out), without rude ones.

    The list is the `legacy` one of the package xkcdpass; better_profanity names what to leave out.
    """
    from better_profanity import Profanity

    rude = {str(word) for word in Profanity().CENSOR_WORDSET}
    lines = (resources.files("xkcdpass") / "static" / "legacy").read_text(encoding="utf-8").split()
    words = sorted({word for word in lines if re.fullmatch("[a-z]{3,14}", word)} - rude)
    kept = [word for word in words if word not in FAMOUS]
    return tuple(w for w in kept if not held_out(w)), tuple(w for w in kept if held_out(w))


class Words:
    """A source of words for the tasks.

    Nearly half of the training words are no English: random joins of the tokenizer's own pieces, so that the spelling
    of every token is seen in every neighbourhood, random letters from small alphabets, so that letters repeat, and
    English words that stammer. After a letter or syllable that comes twice, which letter follows is ambiguous to a
    model that copies by looking for the last letters it wrote; that is where spelling slips.
    """

    def __init__(self, pieces: Sequence[str] = ()) -> None:
        self.pieces = tuple(pieces)

    def english(self, rng: random.Random, test: bool = False) -> str:
        """A dictionary word of the asked split."""
        return rng.choice(dictionary()[test])

    def draw(self, rng: random.Random, test: bool = False, longest: int = 12) -> str:
        """A word of 3 to `longest` letters; with `test` one that the training never asks about."""
        source = 1.0 if test else rng.random()
        while True:
            if source < 0.04:
                word = rng.choice(FAMOUS)
            elif source < 0.22 and self.pieces:
                word = "".join(rng.choice(self.pieces) for _ in range(rng.randint(1, 4)))[:longest]
            elif source < 0.34:
                letters = rng.sample(ALPHABET, rng.choice([26, 26, 8, 4]))
                word = "".join(rng.choice(letters) for _ in range(rng.randint(3, longest)))
            elif source < 0.42:
                word = self.english(rng)
                begin = rng.randrange(len(word) - 1)
                word = word[:begin] + word[begin : begin + rng.randint(1, 3)] + word[begin:]
            else:
                word = self.english(rng, test)
            if 3 <= len(word) <= longest and (test or word in FAMOUS or not held_out(word)):
                return word
            if source < 0.04:  # a famous word can be longer than asked
                source = 1.0
