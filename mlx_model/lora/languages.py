"""Which language a thought is in, told by the thoughts that were learnt from: any language, be it made up."""

import math
from collections import Counter
from collections.abc import Iterable

LETTERS = 3
"""Letters of what is counted."""
_UNSEEN = 0.5
"""What each row of letters counts in advance, so that one that was never seen is not impossible."""


class Languages:
    """Tells languages apart by how often each row of three letters comes in them (Cavnar and Trenkle 1994)."""

    def __init__(self, thoughts: Iterable[tuple[str, str]]) -> None:
        """`thoughts` are pairs of a language and a text in it; "" stands for that of thoughts nobody asked for."""
        self._counts: dict[str, Counter[str]] = {}
        for language, text in thoughts:
            self._counts.setdefault(language, Counter()).update(_parts(text))
        kinds = len(set().union(*self._counts.values())) + 1
        self._totals = {name: counts.total() + _UNSEEN * kinds for name, counts in self._counts.items()}

    @property
    def names(self) -> list[str]:
        """Those that it knows."""
        return sorted(self._counts)

    def of(self, text: str) -> str | None:
        """The language of a text, None for a text that is too short to tell."""
        parts = _parts(text)
        if not parts or not self._counts:
            return None
        return max(self.names, key=lambda name: self._likelihood(parts, name))

    def _likelihood(self, parts: Counter[str], name: str) -> float:
        counts, total = self._counts[name], self._totals[name]
        return sum(times * math.log((counts[part] + _UNSEEN) / total) for part, times in parts.items())


def _parts(text: str) -> Counter[str]:
    text = f" {' '.join(text.lower().split())} "
    return Counter(text[at : at + LETTERS] for at in range(len(text) - LETTERS + 1))
