"""Prompt lookup: what stood behind the last tokens where they stood before is a guess at what comes next."""

from collections.abc import Iterable

MOST_GUESSES = 3
"""Tokens that are guessed at once. With the one before them they are four: as many rows as a kernel's step takes."""

_GRAMS = (3, 2)
"""Tokens that have to agree; the longer match comes first."""
_TRIALS = 8
"""Guesses after which it is seen whether they pay."""
_LEAST = 1.0
"""Tokens that a guess has to bring on average."""
_PAUSE, _LONGEST_PAUSE = 32, 512
"""Tokens without a guess after guesses that did not pay: twice as many each time."""


class PromptLookup:
    """Guesses what follows in one answer (Saxena 2023, "Prompt Lookup Decoding").

    Quotes and edits repeat long runs of what they quote. Elsewhere guesses fail, each at the price of a longer step:
    they stop for a while where those before brought too little. `guessed` and `accepted` count tokens.
    """

    def __init__(self, prompt: Iterable[int]) -> None:
        self.guessed = self.accepted = 0
        self._ids: list[int] = []
        self._behind: dict[tuple[int, ...], int] = {}  # the position behind the latest place of a gram
        self._open: list[int] = []  # guesses that are neither right nor wrong yet
        self._trials = self._brought = 0
        self._pause, self._next_at = _PAUSE, 0
        self.skip(prompt)

    def skip(self, tokens: Iterable[int]) -> None:
        """Takes tokens that were not drawn."""
        self._open = []
        for token in tokens:
            self._append(token)

    def take(self, token: int) -> bool:
        """Takes the token that was drawn; whether it was guessed, and all before it since `guess`."""
        is_right = bool(self._open) and self._open[0] == token
        self._open = self._open[1:] if is_right else []
        self.accepted += is_right
        self._brought += is_right
        self._append(token)
        return is_right

    def guess(self, most: int) -> list[int]:
        """Up to MOST_GUESSES tokens, and up to `most`, that may come next; none where no guess is likely to pay."""
        if self._trials == _TRIALS:
            self._judge()
        if len(self._ids) < self._next_at:
            return []
        grams = (tuple(self._ids[-length:]) for length in _GRAMS)
        at = next((self._behind[gram] for gram in grams if gram in self._behind), len(self._ids))
        self._open = self._ids[at : at + max(0, min(most, MOST_GUESSES))]
        self.guessed += len(self._open)
        self._trials += bool(self._open)
        return self._open

    def _judge(self) -> None:
        pays = self._brought >= _LEAST * self._trials
        self._trials = self._brought = 0
        if pays:
            self._pause = _PAUSE
        else:
            self._next_at = len(self._ids) + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _append(self, token: int) -> None:
        # Only now is there something behind the grams that ended here.
        for length in _GRAMS:
            if len(self._ids) >= length:
                self._behind[tuple(self._ids[-length:])] = len(self._ids)
        self._ids.append(token)
