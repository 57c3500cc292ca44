"""Several KV caches, of which a prompt gets the one that shares the longest prefix with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from mlx_model.memory.parts import sliding_keys
from mlx_model.model import Model
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.config import CACHE_STEP

_BLOCK = 1024
"""Ids compared at once."""


@dataclass(slots=True, eq=False)
class Prefix:
    """A KV cache and the ids whose keys it holds, one for each position.

    `answer_start` is where the answer to the last prompt begins. What lies behind it are sampled tokens, which the next
    turn seldom repeats (their analysis is left out); what lies before it is a conversation worth keeping. While it is
    `in_use` a row computes with it, and nobody else may change it.
    """

    cache: Cache
    ids: list[int] = field(default_factory=list)
    answer_start: int = 0
    in_use: bool = False

    def reusable(self, prompt: Sequence[int]) -> int:
        """How many tokens of the prompt need not be computed: the longest restorable prefix that both share."""
        return self.cache.restorable(common_prefix(self.ids, prompt))

    def rewind(self, position: int) -> None:
        """Goes back to `position`, which must be restorable."""
        self.cache.restore(position)
        del self.ids[position:]

    def take_back(self, count: int = 1) -> None:
        """Forgets the newest ids; see Positions."""
        self.cache.take_back(count)
        del self.ids[len(self.ids) - count :]

    def fork(self, position: int) -> "Prefix":
        """A prefix of its own that ends at `position`, which must be restorable."""
        return Prefix(self.cache.fork(position), self.ids[:position])


class PrefixPool:
    """The KV caches of one model, most recently used last.

    Together they hold no more than the memory plan gives to one cache that fills the context. Of those that are not in
    use the least recently used is dropped first.
    """

    def __init__(self, model: Model) -> None:
        self._sliding = sum(kind == "sliding_attention" for kind in model.config.layer_types)
        self._full = model.config.num_hidden_layers - self._sliding
        self._make_cache = model.make_cache
        self._most_marks = model.plan.rewind_points
        plan = model.plan
        self._keys = partial(sliding_keys, model.config, chunk=plan.prefill_chunk, compiled=plan.is_compiled)
        self._room = _buffer_size(plan.context) + self._windows(plan.context, 1 + self._most_marks)
        self._prefixes: list[Prefix] = []

    def take(self, prompt: Sequence[int]) -> Prefix:
        """A cache that stands at the longest prefix of the prompt that any of them can be brought to.

        The prompt goes on with a cache that loses nothing by it, or an answer's sampled tokens alone, and where two
        don't fit. Otherwise it belongs to another conversation, or edits this one: it gets a fork, and the cache stays,
        as does one that is in use.
        """
        found, position = self._longest(prompt)
        if found is None or (position == 0 and (found.ids or found.in_use)):
            return self._add(Prefix(self._make_cache()))
        self._prefixes.remove(found)
        self._add(found)  # used last too: were it dropped for its fork, their common keys would be copied in vain
        loses_nothing = position >= min(found.answer_start, len(found.ids))
        if not found.in_use and (loses_nothing or not self._fits_beside(found, len(prompt))):
            found.rewind(position)
            return found
        return self._add(found.fork(position))

    def drop(self, prefix: Prefix) -> None:
        """Forgets a cache."""
        self._prefixes.remove(prefix)

    def fits(self, prompt: Sequence[int], marks: int, growing: Mapping[Prefix, int]) -> bool:
        """Whether a cache of a prompt with so many marks would fit beside these with so many more tokens each.

        What it would share with one of them is there already.
        """
        windows = 1 + min(marks, self._most_marks)
        found, position = self._longest(prompt)
        shared = found.cache.shared_by_fork(position) if found is not None and found in growing else 0
        own = _buffer_size(len(prompt) + 1 - shared) + self._windows(len(prompt) + 1, windows)
        return self._together(growing) + own <= self._room

    def make_room(self, growing: Mapping[Prefix, int]) -> bool:
        """Drops caches that are not in use until these can take so many more tokens each; whether they then can."""
        while self._together({prefix: growing.get(prefix, 0) for prefix in self._prefixes}) > self._room:
            unused = next((prefix for prefix in self._prefixes if not prefix.in_use), None)
            if unused is None:
                return False
            self.drop(unused)
        return True

    def _longest(self, prompt: Sequence[int]) -> tuple[Prefix | None, int]:
        """The cache that holds most of the prompt, and how much: of several one that is not in use, the last used."""
        known = ((prefix, prefix.reusable(prompt)) for prefix in reversed(self._prefixes))
        return max(known, key=lambda pair: (pair[1], not pair[0].in_use), default=(None, 0))

    def _add(self, prefix: Prefix) -> Prefix:
        self._prefixes.append(prefix)
        return prefix

    def _fits_beside(self, prefix: Prefix, tokens: int) -> bool:
        """Whether a cache for so many tokens would fit into memory together with this one."""
        own = _buffer_size(tokens) + self._windows(tokens, prefix.cache.windows)
        return self._size(prefix) + own <= self._room

    def _together(self, growing: Mapping[Prefix, int]) -> int:
        """What `_size` says of them with so many more tokens each, but what they share counted once."""
        pieces: dict[object, int] = {}
        for prefix in growing:
            pieces |= prefix.cache.pieces
        others = (self._size(prefix, more) - prefix.cache.capacity for prefix, more in growing.items())
        return sum(pieces.values()) + sum(others)

    def _size(self, prefix: Prefix, more: int = 0) -> int:
        """Tokens of the full layers' buffers with `more` tokens, and its windows counted as so many of them."""
        tokens = len(prefix.ids) + more
        buffer = _buffer_size(tokens) if more else 0
        return max(prefix.cache.capacity, buffer) + self._windows(tokens, prefix.cache.windows)

    def _windows(self, tokens: int, windows: int) -> int:
        """So many windows of a cache with so many tokens, in tokens of the full layers: memory is counted in those."""
        return -(-self._keys(tokens, windows) * self._sliding // max(1, self._full))


def common_prefix(ids: Sequence[int], others: Sequence[int]) -> int:
    """The number of ids at the start that are equal in both."""
    shorter = min(len(ids), len(others))
    blocks = range(0, shorter, _BLOCK)
    start = next((at for at in blocks if ids[at : at + _BLOCK] != others[at : at + _BLOCK]), shorter)
    end = min(start + _BLOCK, shorter)
    return next((at for at in range(start, end) if ids[at] != others[at]), end)


def _buffer_size(tokens: int) -> int:
    """Tokens that a buffer for so many has room for."""
    return -(-tokens // CACHE_STEP) * CACHE_STEP
