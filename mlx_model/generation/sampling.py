"""From logits to the next token, inside MLX's graph: nothing here waits for the device."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from mlx_model.options import Options

_COLDEST = 1e-6
"""Below this temperature nothing but the likeliest token is ever drawn, and 1 / temperature nears float32's end."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How likely a token was, lazy: its log probability, and the likeliest ids with theirs, in no order."""

    logprob: mx.array
    ids: mx.array
    logprobs: mx.array

    @property
    def of_token(self) -> float:
        """The token's log probability."""
        return float(self.logprob.item())  # type: ignore[arg-type]  # a real number

    def top(self) -> list[tuple[int, float]]:
        """The likeliest ids and their log probabilities, the likeliest first."""
        ids, logprobs = np.array(self.ids).tolist(), np.array(self.logprobs).tolist()
        return sorted(zip(ids, logprobs, strict=True), key=lambda pair: -pair[1])


class Sampler:
    """Draws one token a call as `options` ask: penalty, temperature, top-k, top-p, min-p, in transformers' order.

    A draw depends on the seed and on its position in the answer, on nothing else.
    """

    def __init__(self, options: Options, vocab_size: int, context: list[int]) -> None:
        self.seed = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
        self._options = options
        self._ids = mx.arange(vocab_size, dtype=mx.uint32)
        self._key = mx.random.key(self.seed)
        self._seen = None if options.repetition_penalty == 1 else mx.zeros(vocab_size, mx.bool_)
        self._draws: deque[Draw] = deque()
        self._before = self._key, self._seen  # the last draw
        self._see(context)
        mx.eval(self._ids, self.state())

    def skip(self, tokens: Sequence[int]) -> None:
        """Takes tokens that come next in the answer without having been drawn."""
        if self._options.temperature:
            for _ in tokens:
                self._key, _ = mx.random.split(self._key)
        self._see(tokens)

    def _see(self, tokens: Sequence[int]) -> None:
        if self._seen is not None and tokens:
            added = mx.zeros_like(self._seen)
            added[mx.array(list(tokens), mx.uint32)] = True
            self._seen = self._seen | added

    def take_back(self) -> None:
        """Forgets the last draw: the next is made in its place, or behind what `skip` takes meanwhile."""
        self._key, self._seen = self._before
        if self._draws:
            self._draws.pop()

    def drawn(self) -> Draw | None:
        """How likely the first token was that `drawn` has not told of; None where nobody asks for it."""
        return self._draws.popleft() if self._draws else None

    def state(self) -> list[mx.array]:
        """What the next draw depends on besides its logits, lazy after a draw."""
        draws = [array for draw in self._draws for array in (draw.logprob, draw.ids, draw.logprobs)]
        return [self._key, *([] if self._seen is None else [self._seen]), *draws]

    def __call__(self, logits: mx.array, mask: mx.array | None = None) -> mx.array:
        """The next token, a lazy uint32 scalar, for logits float32 [vocab].

        `mask`, bool [vocab], says which tokens may be drawn. It acts before everything else, so that the filters count
        allowed tokens alone.
        """
        options = self._options
        self._before, plain = (self._key, self._seen), logits
        if mask is not None:
            logits = mx.where(mask, logits, -mx.inf)
        if self._seen is not None:
            penalty = options.repetition_penalty
            logits = mx.where(self._seen, mx.where(logits > 0, logits / penalty, logits * penalty), logits)
        if options.temperature == 0:
            token = mx.argmax(logits)
        else:
            self._key, key = mx.random.split(self._key)
            # The largest logit becomes 0, so that a temperature near 0 is greedy instead of an overflow.
            scaled = (logits - logits.max()) / max(options.temperature, _COLDEST)
            token = mx.random.categorical(filtered(scaled, options), key=key)
        if self._seen is not None:
            self._seen = self._seen | (self._ids == token)
        if options.logprobs is not None:
            self._draws.append(_likelihood(plain, token, options.logprobs))
        return token


def _likelihood(logits: mx.array, token: mx.array, count: int) -> Draw:
    """How likely a token is by logits float32 [vocab], beside `count` of the likeliest."""
    logprobs = logits - mx.logsumexp(logits)
    count = min(count, logits.size)
    ids = mx.argpartition(-logprobs, count - 1)[:count] if count else mx.zeros(0, mx.uint32)
    return Draw(logprobs[token], ids, logprobs[ids])


def filtered(logits: mx.array, options: Options) -> mx.array:
    """Logits float32 [vocab] with those that top-k, top-p and min-p exclude at -inf; the likeliest always stays."""
    if options.top_k or options.top_p < 1:
        order = mx.argsort(-logits)
        ranked = logits[order]
        if options.top_k:
            ranked = mx.where(mx.arange(ranked.size) < min(options.top_k, ranked.size), ranked, -mx.inf)
        if options.top_p < 1:
            probabilities = mx.softmax(ranked)
            before = mx.cumsum(probabilities, inclusive=False)
            ranked = mx.where(before < options.top_p, ranked, -mx.inf)
        logits = mx.put_along_axis(logits, order, ranked, axis=0)
    if options.min_p:
        # exp(logit - max) is a token's probability relative to the likeliest one's.
        logits = mx.where(mx.exp(logits - logits.max()) >= options.min_p, logits, -mx.inf)
    return logits
