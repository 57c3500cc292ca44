"""Grammars compiled by llguidance for one tokenizer, each once; the only file that loads it."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

import numpy as np

from mlx_model.errors import RequestError
from mlx_model.extras import install_line
from mlx_model.harmony.grammar import Binding, Part
from mlx_model.harmony.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._tokenizer import TokenizerWrapper

_MOST_GRAMMARS = 200
"""Compiled grammars that are kept. Each function that was called has one, and so has each form."""

_UNIMPLEMENTED = re.compile(r"Unimplemented keys: (\[.*\])")
_LEFT_OUT = re.compile("can't be enforced|Unknown format|oneOf")  # if the grammar may be lenient
_PLACE = re.compile(r"\n +(?:\d+ \| .*|\^)")

_of_tokenizer: WeakKeyDictionary[Tokenizer, Grammars] = WeakKeyDictionary()
_lock = threading.Lock()


def can_bind() -> bool:
    """Whether llguidance is installed."""
    return find_spec("llguidance") is not None


def check_installed() -> None:
    """Raises RequestError where it is not."""
    if not can_bind():
        raise RequestError(f"binding an answer needs the package llguidance; install it with: {install_line('schema')}")


def grammars_of(tokenizer: Tokenizer, vocab_size: int) -> Grammars:
    """The grammars of a tokenizer, the same for all who ask. Raises RequestError where llguidance is missing."""
    check_installed()
    with _lock:
        if (found := _of_tokenizer.get(tokenizer)) is None:
            found = _of_tokenizer[tokenizer] = Grammars(tokenizer, vocab_size)
        return found


class Grammars:
    """Compiles grammars and keeps them. May be used by several threads.

    The vocabulary takes llguidance 1.2 s of CPU and 80 MB for the 201,088 ids of gpt-oss, and holds up all threads
    meanwhile: it is read when the first grammar is compiled.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        """`vocab_size` is that of the model's logits."""
        self.vocab_size = vocab_size
        self._vocabulary = _Vocabulary(tokenizer, vocab_size)
        self._lock = threading.Lock()
        self._tokenizer: LLTokenizer | None = None
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()

    def check(self, binding: Binding) -> list[str]:
        """Compiles a binding; returns what of it is weaker than was asked. Raises RequestError, which says whose part
        of it can't be enforced, and why."""
        warnings: list[str] = []
        for part in binding.parts:
            matcher = self._matcher(part.grammar)
            if matcher.is_error():
                reason = _reason(matcher.get_error())
                remedy = "; leave it out, or do not insist on it (strict=False)" if _LEFT_OUT.search(reason) else ""
                raise RequestError(f"{part.owner} can't be bound: {reason}{remedy}", part.about)
            warnings += _warnings(part, matcher)
        if binding.turn is not None and (matcher := self._matcher(binding.turn)).is_error():
            raise RequestError(f"the answer can't be bound: {_reason(matcher.get_error())}")
        return warnings

    def compiles(self, grammar: str) -> bool:
        """Whether answers can be kept to a grammar."""
        return not self._matcher(grammar).is_error()

    def matcher(self, grammar: str) -> LLMatcher:
        """A matcher of one's own at the beginning of a grammar. It `is_error` at once where that has not been checked
        and can't be followed."""
        return self._matcher(grammar).deep_copy()

    @cached_property
    def digits(self) -> np.ndarray:
        """Tokens that begin with a digit: a bit each, uint32, as llguidance's masks have them."""
        bits = np.array([token[:1].isdigit() for token in self._vocabulary.tokens])
        return np.packbits(np.pad(bits, (0, -len(bits) % 32)), bitorder="little").view("<u4")

    def _matcher(self, grammar: str) -> LLMatcher:
        from llguidance import LLMatcher, LLTokenizer

        with self._lock:
            if (found := self._compiled.get(grammar)) is None:
                if self._tokenizer is None:
                    self._tokenizer = LLTokenizer(cast("TokenizerWrapper", self._vocabulary), n_vocab=self.vocab_size)
                found = self._compiled[grammar] = LLMatcher(self._tokenizer, grammar, log_level=0)
                if len(self._compiled) > _MOST_GRAMMARS:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(grammar)
            return found


class _Vocabulary:
    """A tokenizer as llguidance's TokenizerWrapper describes one.

    It must not keep the Tokenizer alive, which the compiled grammars go with.
    """

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self.tokens = tokenizer.vocabulary()
        self.tokens += [b""] * (vocab_size - len(self.tokens))  # rows of the embedding that no token has
        self.special_token_ids = sorted(tokenizer.special.values())
        # No answer ends with it, so it is free to mean that a grammar is at its end.
        self.eos_token_id = tokenizer.special["<|endoftext|>"]
        self._encode = tokenizer.encoding.encode_ordinary

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


def _warnings(part: Part, matcher: LLMatcher) -> list[str]:
    texts = [*part.warnings, *map(_reason, matcher.get_grammar_warnings())]
    return [f"{part.owner}: {text}" for text in dict.fromkeys(texts)]


def _reason(text: str) -> str:
    """What llguidance says, in one line without the grammar that it quotes."""
    text = text.replace(". Enable 'coerce_one_of' option to approximate oneOf with anyOf", " that overlap")
    if match := _UNIMPLEMENTED.search(text):
        names = ", ".join(map(repr, json.loads(match[1])))
        return f"the keywords {names} can't be enforced" if "," in names else f"the keyword {names} can't be enforced"
    lines = (line.strip() for line in _PLACE.sub("", text).splitlines())
    return " ".join(line for line in lines if line.strip("^ "))[:300]
