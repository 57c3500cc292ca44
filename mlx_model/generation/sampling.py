"""From logits to the next token, inside MLX's graph: nothing here waits for the device."""

import os
from collections import deque
from collections.abc import Sequence

import mlx.core as mx

from metal.fused import fused
from mlx_model.generation.likelihood import Draw, draw_of
from mlx_model.options import Options

_COLDEST = 1e-6
"""Below this temperature nothing but the likeliest token is ever drawn, and 1 / temperature nears float32's end."""

_KEYS, _KEY_BLOCKS = 256, 1024
"""Random keys that are made at once, and how often: for 262,144 tokens, twice the longest context."""


_ONE = mx.array(1.0)


class Sampler:
    """Draws one token a call as `options` ask: penalty, temperature, top-k, top-p, min-p, in transformers' order.

    A draw depends on the seed and on its position in the answer, on nothing else.
    """

    def __init__(self, options: Options, vocab_size: int, context: list[int]) -> None:
        self.seed = int.from_bytes(os.urandom(4)) if options.seed is None else options.seed
        self._options = options
        self._ids = mx.arange(vocab_size, dtype=mx.uint32)
        self._roots = mx.random.split(mx.random.key(self.seed), _KEY_BLOCKS)
        self._drawn = self._block = 0
        self._keys = mx.random.split(self._roots[0], _KEYS)
        # Weights of logits and of noise: never above 1, so that neither overflows.
        temperature = max(options.temperature, _COLDEST)
        self._weights = mx.array(min(1.0, 1 / temperature)), mx.array(min(1.0, temperature))
        self._penalty = mx.array(options.repetition_penalty)
        self._seen = None if options.repetition_penalty == 1 else mx.zeros(vocab_size, mx.bool_)
        self._draws: deque[Draw] = deque()
        self._before = self._drawn, self._seen  # the last draw
        self._ahead: mx.array | None = None
        self._see(context)
        mx.eval(self._ids, self._roots, self._weights, self.state())

    def skip(self, tokens: Sequence[int]) -> None:
        """Takes tokens that come next in the answer without having been drawn, in place of one drawn ahead."""
        if self._ahead is not None:
            self._ahead = None
            self.take_back()
        self._drawn += len(tokens)
        self._see(tokens)

    def _see(self, tokens: Sequence[int]) -> None:
        if self._seen is not None and tokens:
            added = mx.zeros_like(self._seen)
            added[mx.array(list(tokens), mx.uint32)] = True
            self._seen = self._seen | added

    def ahead(self, logits: mx.array) -> object:
        """Draws what the next call returns, which gets the same logits; the lazy arrays of it."""
        self._ahead = self(logits)
        return self._ahead, self.state()

    def take_back(self) -> None:
        """Forgets the last draw: the next is made in its place, or behind what `skip` takes meanwhile."""
        self._drawn, self._seen = self._before
        if self._draws:
            self._draws.pop()

    def drawn(self) -> Draw | None:
        """How likely the first token was that `drawn` has not told of; None where nobody asks for it."""
        return self._draws.popleft() if self._draws else None

    def state(self) -> list[mx.array]:
        """What the next draw depends on besides its logits, lazy after a draw."""
        draws = [array for draw in self._draws for array in draw.arrays]
        return [self._keys, *([] if self._seen is None else [self._seen]), *draws]

    def __call__(self, logits: mx.array, mask: mx.array | None = None) -> mx.array:
        """The next token, a lazy uint32 scalar, for logits float32 [vocab].

        `mask`, bool [vocab], says which tokens may be drawn. It acts before everything else, so that the filters count
        allowed tokens alone.
        """
        if (token := self._ahead) is not None:
            self._ahead = None
            return token
        options = self._options
        self._before, plain = (self._drawn, self._seen), logits
        if mask is not None:
            logits = mx.where(mask, logits, -mx.inf)
        if self._seen is not None:
            logits = _penalised(logits, self._seen, self._penalty)
        token = mx.argmax(logits) if options.temperature == 0 else self._draw(logits)
        if self._seen is not None:
            self._seen = _with(self._seen, self._ids, token)
        if options.logprobs is not None:
            self._draws.append(draw_of(plain, token, options.logprobs))
        return token

    def _draw(self, logits: mx.array) -> mx.array:
        """A token with the probability that softmax(logits / temperature) gives it among those that the filters leave.

        The largest of logits with noise of Gumbel's distribution added is just that (Gumbel 1954; Maddison et al. 2014,
        section 2): no sum over the vocabulary is taken. Weighing the noise by the temperature spares dividing by it.
        """
        options = self._options
        key = self._next_key()
        if not (options.top_k or options.top_p < 1 or options.min_p):
            return mx.argmax(_noisy(logits, key, *self._weights))
        kept, ids = filtered(logits, options)
        place = mx.argmax(_noisy(kept, key, _ONE, _ONE))
        return place if ids is None else ids[place]

    def _next_key(self) -> mx.array:
        """The key of this draw, by its number."""
        block, place = divmod(self._drawn, _KEYS)
        if block != self._block:
            self._block, self._keys = block, mx.random.split(self._roots[block], _KEYS)
        self._drawn += 1
        return self._keys[place : place + 1].squeeze(0)  # a view, where an index would gather


def filtered(logits: mx.array, options: Options) -> tuple[mx.array, mx.array | None]:
    """What top-k, top-p and min-p leave of logits float32 [vocab], at the temperature: excluded ones are -inf.

    The likeliest always stays, and is 0. Top-k and top-p put logits in falling order, top-k cuts them off; then uint32
    ids of the same shape say whose they are, else None.
    """
    ids, temperature = None, mx.array(max(options.temperature, _COLDEST))
    if options.top_k or options.top_p < 1:
        ids = mx.argsort(-logits)[: min(options.top_k or logits.size, logits.size)]
        logits = logits[ids]
    # The largest logit becomes 0, so that a temperature near 0 is greedy instead of an overflow.
    logits = _cooled(logits, logits.max() if ids is None else logits[:1], temperature)
    if options.top_p < 1:
        before = mx.cumsum(mx.softmax(logits), inclusive=False)
        logits = _kept_while(before, mx.array(options.top_p), logits)
    if options.min_p:
        logits = _kept_from(mx.array(options.min_p), logits)
    return logits, ids


@fused
def _cooled(logits: mx.array, largest: mx.array, temperature: mx.array) -> mx.array:
    return (logits - largest) / temperature


@fused
def _kept_while(before: mx.array, limit: mx.array, logits: mx.array) -> mx.array:
    return mx.where(before < limit, logits, -mx.inf)


@fused
def _kept_from(least: mx.array, logits: mx.array) -> mx.array:
    # exp(logit) is a token's probability relative to the likeliest one's.
    return mx.where(mx.exp(logits) >= least, logits, -mx.inf)


@fused
def _penalised(logits: mx.array, seen: mx.array, penalty: mx.array) -> mx.array:
    return mx.where(seen, mx.where(logits > 0, logits / penalty, logits * penalty), logits)


@fused
def _with(seen: mx.array, ids: mx.array, token: mx.array) -> mx.array:
    return seen | (ids == token)


def _add_noise(logits: mx.array, key: mx.array, of_logits: mx.array, of_noise: mx.array) -> mx.array:
    return of_logits * logits + of_noise * mx.random.gumbel(logits.shape, key=key)


_noisy = fused(_add_noise, shapeless=False)
