"""Which language a thought is in, told by the thoughts that were learnt from: any language, be it made up."""

import math
from collections import Counter
from collections.abc import Iterable

LETTERS = 3
"""Letters of what is counted."""
_UNSEEN = 3e-4
"""Share that each row of letters has in advance, so that one that was never seen is not impossible: the same in each
language, however much was learnt of it."""

ENGLISH = """
The user asks for a short answer, so we need to think about what they want to know and how to say it. First we should
check whether the question has all the information that we need. Let's count the letters one by one and keep track of
the number. There are two of them, which means that the answer is three. They probably want the result with a brief
explanation, but it could also be that this is only a greeting. We must be careful here: the instructions say that we
should answer in the same language. I think the best way is to give the final result and then explain why it works.
That would be correct. If something is not allowed, we have to refuse. Now compute: five times seven is thirty five, and
adding twelve gives forty seven. So we will write the code, provide an example, and make sure that it returns the right
value for every input. Okay, let me just respond with a friendly message and ask them if they need any more help.
"""
"""How the model thinks where nobody asks for a language."""


class Languages:
    """Tells languages apart by how often each row of three letters comes in them (Cavnar and Trenkle 1994)."""

    def __init__(self, thoughts: Iterable[tuple[str, str]]) -> None:
        """`thoughts` are pairs of a language and a text in it; "" stands for that of thoughts nobody asked for."""
        self._counts: dict[str, Counter[str]] = {}
        for language, text in thoughts:
            self._counts.setdefault(language, Counter()).update(_parts(text))
        self._totals = {name: max(1, counts.total()) for name, counts in self._counts.items()}

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
        return sum(times * math.log(counts[part] / total + _UNSEEN) for part, times in parts.items())


def _parts(text: str) -> Counter[str]:
    text = f" {' '.join(text.lower().split())} "
    return Counter(text[at : at + LETTERS] for at in range(len(text) - LETTERS + 1))
