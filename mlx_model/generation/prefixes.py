"""Several KV caches, of which a prompt gets the one that shares the longest prefix with it."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import ClassVar

from mlx_model.memory.parts import sliding_keys
from mlx_model.model import Model
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.config import CACHE_STEP

Size = tuple[Mapping[object, int], int]
"""The pieces that a cache lies in, as Positions has them, which others may share, and what it takes besides."""

_BLOCK = 1024
"""Ids compared at once."""


@dataclass(slots=True, eq=False)
class Prefix:
    """A KV cache and the ids whose keys it holds, one for each position.

    `answer_start` is where the answer to the last prompt begins. What lies behind it are sampled tokens, which the next
    turn seldom repeats (their analysis is left out); what lies before it is a conversation worth keeping. While it is
    `in_use` a row computes with it, and nobody else may change it, or look at it: other Sessions see its `size` when
    its own last made room. `used` says in which order caches were.
    """

    cache: Cache
    ids: list[int] = field(default_factory=list)
    answer_start: int = 0
    in_use: bool = False
    size: "Size" = ({}, 0)
    used: int = 0

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
    """The KV caches of a Session, most recently used last.

    Together, and with those of the other Sessions of the model, they hold no more than the memory plan gives to one
    cache that fills the context; only a row that is alone in its Session always has room. Of those that are not in use
    the least recently used is dropped first, whosever it is.
    """

    lock: ClassVar = threading.RLock()
    """Held where caches come, go, or begin to be in use: each Session may have a thread."""
    _uses: ClassVar = count()

    def __init__(self, model: Model) -> None:
        self._sliding = sum(kind == "sliding_attention" for kind in model.config.layer_types)
        self._full = model.config.num_hidden_layers - self._sliding
        self._make_cache = model.make_cache
        self._most_marks = model.plan.rewind_points
        plan = model.plan
        self._keys = partial(sliding_keys, model.config, chunk=plan.prefill_chunk, compiled=plan.is_compiled)
        self._room = _buffer_size(plan.context) + self._windows(plan.context, 1 + self._most_marks)
        self._prefixes: list[Prefix] = []
        self._pools = model.pools
        with self.lock:
            self._pools.add(self)

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
        """Forgets a cache, if it is still there."""
        with self.lock:
            if prefix in self._prefixes:
                self._prefixes.remove(prefix)

    def fits(self, prompt: Sequence[int], marks: int, growing: Mapping[Prefix, int]) -> bool:
        """Whether a cache of a prompt with so many marks would fit beside these with so many more tokens each.

        What it would share with one of them is there already.
        """
        windows = 1 + min(marks, self._most_marks)
        found, position = self._longest(prompt)
        shared = found.cache.shared_by_fork(position) if found is not None and found in growing else 0
        own = _buffer_size(len(prompt) + 1 - shared) + self._windows(len(prompt) + 1, windows)
        return self._together(growing) + own <= self._room - self._elsewhere()

    def make_room(self, growing: Mapping[Prefix, int]) -> bool:
        """Drops caches that are not in use until these can take so many more tokens each; whether they then can."""
        with self.lock:
            for each in self._prefixes:
                each.size = self._with(each, growing.get(each, 0))
            while _total(each.size for pool in self._pools for each in pool._prefixes) > self._room:
                unused = [(each, pool) for pool in self._pools for each in pool._prefixes if not each.in_use]
                if not unused:
                    return False
                oldest, pool = min(unused, key=lambda pair: pair[0].used)
                pool.drop(oldest)
            return True

    def _longest(self, prompt: Sequence[int]) -> tuple[Prefix | None, int]:
        """The cache that holds most of the prompt, and how much: of several one that is not in use, the last used."""
        known = ((prefix, prefix.reusable(prompt)) for prefix in reversed(self._prefixes))
        return max(known, key=lambda pair: (pair[1], not pair[0].in_use), default=(None, 0))

    def _add(self, prefix: Prefix) -> Prefix:
        prefix.used = next(self._uses)
        self._prefixes.append(prefix)
        return prefix

    def _fits_beside(self, prefix: Prefix, tokens: int) -> bool:
        """Whether a cache for so many tokens would fit into memory together with this one."""
        own = _buffer_size(tokens) + self._windows(tokens, prefix.cache.windows)
        return self._size(prefix) + own <= self._room - self._elsewhere()

    def _together(self, growing: Mapping[Prefix, int]) -> int:
        """What `_size` says of them with so many more tokens each, but what they share counted once."""
        return _total(self._with(prefix, more) for prefix, more in growing.items())

    def _with(self, prefix: Prefix, more: int) -> Size:
        return prefix.cache.pieces, self._size(prefix, more) - prefix.cache.capacity

    def _elsewhere(self) -> int:
        """What other Sessions have in use, as they last counted it."""
        with self.lock:
            others = [each for pool in self._pools if pool is not self for each in pool._prefixes]
            return _total(each.size for each in others if each.in_use)

    def _size(self, prefix: Prefix, more: int = 0) -> int:
        """Tokens of the full layers' buffers with `more` tokens, and its windows counted as so many of them."""
        tokens = len(prefix.ids) + more
        buffer = _buffer_size(tokens) if more else 0
        return max(prefix.cache.capacity, buffer) + self._windows(tokens, prefix.cache.windows)

    def _windows(self, tokens: int, windows: int) -> int:
        """So many windows of a cache with so many tokens, in tokens of the full layers: memory is counted in those."""
        return -(-self._keys(tokens, windows) * self._sliding // max(1, self._full))


def _total(sizes: Iterable[Size]) -> int:
    """Of several caches; what they share counts once."""
    pieces, rest = dict[object, int](), 0
    for own, besides in sizes:
        pieces |= own
        rest += besides
    return sum(pieces.values()) + rest


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
