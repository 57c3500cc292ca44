"""Several KV caches, of which a prompt gets the one that shares the longest prefix with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlx_model.memory.plan import window_keys
from mlx_model.model import Model
from mlx_model.transformer.cache import Cache
from mlx_model.transformer.config import CACHE_STEP

_BLOCK = 1024
"""Ids compared at once."""


@dataclass(slots=True, eq=False)
class Prefix:
    """A KV cache and the ids whose keys it holds, one for each position.

    `answer_start` is where the answer to the last prompt begins. What lies behind it are sampled tokens, which the next
    turn seldom repeats (their analysis is left out); what lies before it is a conversation worth keeping.
    """

    cache: Cache
    ids: list[int] = field(default_factory=list)
    answer_start: int = 0

    def reusable(self, prompt: Sequence[int]) -> int:
        """How many tokens of the prompt need not be computed: the longest restorable prefix that both share."""
        return self.cache.restorable(common_prefix(self.ids, prompt))

    def rewind(self, position: int) -> None:
        """Goes back to `position`, which must be restorable."""
        self.cache.restore(position)
        del self.ids[position:]

    def take_back(self) -> None:
        """Forgets the newest id, which must have been appended alone, and not twice in a row."""
        self.cache.take_back()
        self.ids.pop()

    def fork(self, position: int) -> "Prefix":
        """A prefix of its own that ends at `position`, which must be restorable."""
        return Prefix(self.cache.fork(position), self.ids[:position])


class PrefixPool:
    """The KV caches of one model, most recently used last.

    Together they hold no more than the memory plan gives to one cache that fills the context. The least recently used
    is dropped first.
    """

    def __init__(self, model: Model) -> None:
        sliding = sum(kind == "sliding_attention" for kind in model.config.layer_types)
        full = model.config.num_hidden_layers - sliding
        self._make_cache = model.make_cache
        # One window in tokens of the full layers: memory is counted in those.
        keys = window_keys(model.config, model.plan.prefill_chunk, compiled=model.plan.is_compiled)
        self._window = -(-keys * sliding // max(1, full))
        self._room = _buffer_size(model.plan.context) + (1 + model.plan.rewind_points) * self._window
        self._prefixes: list[Prefix] = []

    def take(self, prompt: Sequence[int]) -> Prefix:
        """A cache that stands at the longest prefix of the prompt that any of them can be brought to.

        The prompt goes on with a cache that loses nothing by it, or an answer's sampled tokens alone, and where two
        don't fit. Otherwise it belongs to another conversation, or edits this one: it gets a fork, and the cache stays.
        """
        found, position = self._longest(prompt)
        if found is None or (position == 0 and found.ids):
            return self._add(Prefix(self._make_cache()))
        self._prefixes.remove(found)
        self._add(found)  # used last too: were it dropped for its fork, their common keys would be copied in vain
        if position >= min(found.answer_start, len(found.ids)) or not self._fits_beside(found, len(prompt)):
            found.rewind(position)
            return found
        return self._add(found.fork(position))

    def make_room(self, tokens: int) -> None:
        """Drops caches until the one used last can take so many more tokens."""
        while len(self._prefixes) > 1 and self._total_with(tokens) > self._room:
            del self._prefixes[0]

    def _longest(self, prompt: Sequence[int]) -> tuple[Prefix | None, int]:
        """The cache that holds most of the prompt, the most recently used of several, and how much of it."""
        best: tuple[Prefix | None, int] = None, 0
        for prefix in reversed(self._prefixes):
            position = prefix.reusable(prompt)
            if best[0] is None or position > best[1]:
                best = prefix, position
        return best

    def _add(self, prefix: Prefix) -> Prefix:
        self._prefixes.append(prefix)
        return prefix

    def _total_with(self, tokens: int) -> int:
        *others, last = self._prefixes
        return sum(map(self._size, others)) + self._size(last, len(last.ids) + tokens)

    def _fits_beside(self, prefix: Prefix, tokens: int) -> bool:
        """Whether a cache for so many tokens would fit into memory together with this one."""
        return self._size(prefix) + _buffer_size(tokens) + prefix.cache.windows * self._window <= self._room

    def _size(self, prefix: Prefix, tokens: int = 0) -> int:
        """Tokens of the full layers' buffers once there are so many, with windows counted as so many of them."""
        return max(prefix.cache.capacity, _buffer_size(tokens)) + prefix.cache.windows * self._window


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
