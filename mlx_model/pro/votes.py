"""Counts answers that can be compared, and says from when on counting more of them would hardly change which one leads.

The rule by which a vote stops early: two answers must agree, and either none of those that still come can change the
leader, or the leader would stay ahead of the second with a probability of 95%. For that the chance of each of the two
to be named next is unknown, all values of it being equally likely before the first vote (a Beta(1, 1) prior; as in
"Best-of-infinity", arXiv 2509.21091, for two answers). It is the case at 4:0, 6:1, 8:2 votes. Since short thoughts end
first, a vote that stops early hears fewer of the long ones.
"""

from dataclasses import dataclass
from math import comb

from mlx_model.pro.comparing import Comparable, comparable

_SURE = 0.95
_LEAST = 2
"""Votes below which an answer is not that of several."""


@dataclass(frozen=True, slots=True)
class Count:
    """An answer in short, and the numbers of those who gave it, in their order."""

    answer: str
    voters: tuple[int, ...]

    @property
    def votes(self) -> int:
        """How many they are."""
        return len(self.voters)


class Tally:
    """The votes so far; an answer that can't be compared is an abstention."""

    def __init__(self) -> None:
        self.abstentions = 0
        self._groups: list[tuple[Comparable, list[int]]] = []

    def add(self, number: int, text: str) -> None:
        """The answer of this number has ended with this text."""
        vote = comparable(text)
        if vote is None:
            self.abstentions += 1
            return
        for known, voters in self._groups:
            if known.agrees(vote):
                voters.append(number)
                return
        self._groups.append((vote, [number]))

    @property
    def counts(self) -> list[Count]:
        """What was answered, the most votes first; of equals that with the lowest number."""
        found = (Count(known.shown, tuple(sorted(voters))) for known, voters in self._groups)
        return sorted(found, key=lambda count: (-count.votes, count.voters))

    @property
    def answers(self) -> int:
        """Those that have been added, abstentions too."""
        return self.abstentions + sum(len(voters) for _, voters in self._groups)

    @property
    def leader(self) -> Count | None:
        """The answer that the vote comes to: None where no two agree, or no more can be compared than can't.

        Of several with as many votes it is that of the lowest number.
        """
        counts = self.counts
        return counts[0] if counts and counts[0].votes >= _LEAST and self._compared > self.abstentions else None

    @property
    def _compared(self) -> int:
        return self.answers - self.abstentions

    @property
    def is_tied(self) -> bool:
        """Whether another answer has as many votes as the leader."""
        counts = self.counts
        return len(counts) > 1 and counts[0].votes == counts[1].votes

    def is_decided(self, coming: int) -> bool:
        """Whether the vote may stop although `coming` answers have not ended yet: see the module."""
        if self.leader is None or coming == 0:
            return False
        first, second = [*(count.votes for count in self.counts), 0][:2]
        is_certain = first > second + coming and self._compared > self.abstentions + coming
        return is_certain or _stays_ahead(first, second) > _SURE


def _stays_ahead(first: int, second: int) -> float:
    """The probability that the answer with `first` votes is the likelier of two, after `second` for the other one."""
    # 1 - I(1/2; first + 1, second + 1): of first + second + 1 throws of a coin more than `second` are heads.
    throws = first + second + 1
    behind: float = sum(comb(throws, heads) for heads in range(second + 1)) / 2**throws
    return 1 - behind
