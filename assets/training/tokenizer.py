"""The demo model's tokenizer: byte-level BPE in the Hub's form, made from the training conversations."""

import json
import random
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from .words import ALPHABET, FAMOUS, dictionary

SPECIALS = (
    "<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>",
    "<|message|>", "<|call|>",
)  # fmt: skip
# The pre-tokenizer of o200k, as in gpt-oss.
SPLIT = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
])  # fmt: skip


class HarmonyTokenizer:
    """Text and special tokens of a tokenizer.json, with plain text never read as a special token."""

    def __init__(self, path: Path) -> None:
        self.backend = Tokenizer.from_file(str(path))
        self.backend.encode_special_tokens = True
        vocabulary = self.backend.get_vocab()
        self.special = {name: vocabulary[name] for name in SPECIALS}
        self.size = self.backend.get_vocab_size()
        self._encode = lru_cache(maxsize=50_000)(lambda text: tuple(self.backend.encode(text).ids))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text."""
        return list(self._encode(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, special tokens spelt out."""
        text: str = self.backend.decode(list(ids), skip_special_tokens=False)
        return text

    def pieces(self) -> list[str]:
        """Lower-case pieces without their leading space: what words are made of."""
        vocabulary = self.backend.get_vocab(with_added_tokens=False)
        return sorted({t.lstrip("Ġ") for t in vocabulary if re.fullmatch("Ġ?[a-z]{1,8}", t)})


def _corpus(texts: Iterable[str]) -> Iterator[str]:
    """The texts, cut so that no token holds two digits or one of the words that are asked about most."""
    cut = re.compile(r"(\d|" + "|".join(sorted(set(FAMOUS) - {"google", "python", "hello", "letter"})) + ")")
    for text in texts:
        yield from (part for part in cut.split(text) if part and part not in FAMOUS)


def all_merges(vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to join two tokens into a third, in the order of the third's id.

    This is how the Hub writes a tiktoken vocabulary: with all the joins listed, merging by rank of the pair and merging
    by rank of the result, as tiktoken does, come to the same.
    """
    merges = []
    for token in sorted(vocabulary, key=vocabulary.__getitem__):
        splits = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [pair for pair in splits if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += sorted(known, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
    return merges


def train_tokenizer(texts: Iterable[str], path: Path, size: int = 1024) -> None:
    """Learn a vocabulary of `size` tokens, specials last, from texts and write tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    # The analysis spells with " a" to " z", so each must be one token; the words asked about come in sparsely, so that
    # an unseen word is cut into the same short pieces as a seen one.
    letters = [" " + letter for letter in ALPHABET] * 3000 + list(ALPHABET) * 10
    sparse = [" " + word for word in random.Random(0).sample(dictionary()[0], 2000)]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIALS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*_corpus(texts), *letters, *sparse], trainer)
    tokenizer.add_special_tokens(list(SPECIALS))
    written = json.loads(tokenizer.to_str())
    written["model"]["merges"] = [list(pair) for pair in all_merges(written["model"]["vocab"])]
    path.write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
