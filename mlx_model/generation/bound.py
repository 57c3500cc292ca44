"""Keeps one answer to its grammar: follows it token by token and says which may come next."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import mlx.core as mx
import numpy as np

from mlx_model.errors import RequestError
from mlx_model.events import MessageEnd, MessageStart, TextDelta
from mlx_model.generation.digits import Digits
from mlx_model.generation.grammars import Grammars
from mlx_model.harmony.grammar import Binding
from mlx_model.harmony.parse import StreamParser
from mlx_model.harmony.recipients import find_tool
from mlx_model.harmony.tokenizer import Tokenizer
from mlx_model.harmony.tools import FUNCTIONS
from mlx_model.options import Options

if TYPE_CHECKING:
    from llguidance import LLMatcher

_WORD = 32
"""Tokens that a word of llguidance's masks has."""

_BITS = 1 << np.arange(_WORD, dtype=np.uint32)


class Bound:
    """A Constraint made of a Binding.

    `warnings` say what of it can't be enforced, `opening` are the ids that end a thought and lead to the call that the
    request asks for, if it does. Raises RequestError for what can't be bound.

    In free text, such as the analysis, only markup in the wrong place is not allowed. There tokens are drawn from all,
    and a refused one is drawn again with the mask: the same key then gives the very token that the mask would have
    given at once, so draws don't depend on the way. Where top-p, top-k or min-p count tokens this does not hold, and
    the mask is always used.
    """

    def __init__(self, binding: Binding, grammars: Grammars, tokenizer: Tokenizer, options: Options) -> None:
        self.warnings = grammars.check(binding)
        self.opening = [*binding.opening]
        self._binding = binding
        self._grammars = grammars
        self._parser = StreamParser(tokenizer)
        self._matcher = None if binding.turn is None else grammars.matcher(binding.turn)
        self._is_optional = False  # what is followed now: a call that nobody insists on
        self._words = np.zeros(-(-grammars.vocab_size // _WORD), np.uint32)
        self._may_guess = options.top_p == 1 and options.top_k == 0 and options.min_p == 0
        self._free = False  # inside text that is bound to nothing
        self._digits: Digits | None = None  # inside JSON that is bound to a schema
        self._refused = False

    def mask(self) -> mx.array | None:
        """See Constraint. Raises RequestError where the grammar has become too complex to follow."""
        matcher = self._matcher
        if matcher is None or (self._free and self._may_guess and not self._refused):
            return None
        matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
        if self._is_lost(matcher):
            return None
        words = self._words
        if self._digits is not None and self._digits.suffice:
            others = words & ~self._grammars.digits
            words = others if others.any() else words
        return _expanded(mx.array(words), self._grammars.vocab_size)

    def accept(self, token: int) -> bool:
        """See Constraint."""
        matcher = self._matcher
        if matcher is not None and matcher.try_consume_tokens([token]) == 0 and not self._is_lost(matcher):
            if self._refused:  # what the mask allows: drawn again it would be the same
                raise RequestError("the answer can't be bound any further: its grammar contradicts itself")
            self._refused = True
            return False
        self._refused = False
        self._follow(token)
        return True

    def forced(self) -> Sequence[int]:
        """See Constraint."""
        return () if self._matcher is None or self._free else self._matcher.compute_ff_tokens()

    def continue_from(self, ids: Iterable[int]) -> None:
        """Goes to where an answer that was cut off goes on. Raises RequestError if it is not of the form; a call that
        is not is left as it is."""
        for token in ids:
            if self.accept(token):
                continue
            if self._binding.turn is not None:
                raise RequestError(
                    "the answer that is to be continued does not keep to the form that is asked for; ask for a new one"
                )
            self._matcher, self._refused = None, False
            self._follow(token)

    def _follow(self, token: int) -> None:
        events = self._parser.push(token)
        for event in events:
            if isinstance(event, TextDelta) and self._digits is not None:
                self._digits.read(event.text)
            elif isinstance(event, MessageEnd):
                self._free, self._digits = False, None
                if self._binding.turn is None:
                    self._matcher = None
            elif isinstance(event, MessageStart):
                self._begin(event, is_empty=not isinstance(events[-1], TextDelta))

    def _begin(self, start: MessageStart, *, is_empty: bool) -> None:
        """A message's content begins; it `is_empty` yet, unless its header was malformed."""
        binding = self._binding
        if binding.turn is not None:
            self._free = start.recipient not in binding.bound or (start.recipient is None and start.channel != "final")
            self._digits = Digits() if start.recipient in binding.json and not self._free else None
            return
        names_one = start.recipient not in (None, FUNCTIONS)  # and not all functions, with the name inside
        found = find_tool(start.recipient or "", {}, binding.calls) if names_one else None
        if found is not None and is_empty:
            self._is_optional = found[0] in binding.optional
            matcher = self._grammars.matcher(binding.calls[found[0]])
            self._matcher = None if self._is_lost(matcher) else matcher
            self._digits = Digits()

    def _is_lost(self, matcher: "LLMatcher") -> bool:
        """Whether a grammar can't be followed (any further), and nobody insists on it: what it binds is free then.
        Raises RequestError where somebody does."""
        if not matcher.is_error():
            return False
        if not self._is_optional:
            raise RequestError(f"the answer can't be bound any further: {matcher.get_error().splitlines()[0][:200]}")
        self._matcher = None
        return True


def _expanded(words: mx.array, size: int) -> mx.array:
    """A bit a token to bool [size], on the device, which so gets 25 kB a token, in two launches.

    mx.compile would make it one. On a CPU that needs a C++ compiler, and with MLX 0.32.4 a process in which several
    threads have used it aborts at its end, one in three.
    """
    return ((words[:, None] & mx.array(_BITS)) != 0).flatten()[:size]
