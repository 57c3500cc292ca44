"""Several answers to one request and what is made of them: a state machine that asks nobody itself.

Whoever drives it asks the model for all `requests`, tells it of each answer that has ended, and asks on for as long as
`combination` gives a request. Two do: generation.several for scripts, and app.chat.pro for chats.
"""

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from mlx_model.errors import RequestError
from mlx_model.events import Stats
from mlx_model.harmony.message import Role
from mlx_model.options import Options
from mlx_model.pro.prompts import choosing, chosen, writing
from mlx_model.pro.votes import Count, Tally
from mlx_model.request import Request

Combine = Literal["vote", "select", "synthesise", "all"]
COMBINE: tuple[Combine, ...] = get_args(Combine)
"""How one answer is made of several.

vote: answers that can be compared are counted, and the vote may stop early (see votes); others are synthesised.
select: the model chooses one. synthesise: the model writes one from all of them. all: nothing is made of them.
"""
MOST = 16
"""Samples at most: no more were measured, and each takes its share of the context."""
WHOLE = ("stop", "stop_string")
"""How an answer has ended that counts (Finished.reason)."""
_SEEDS = 2**64
_SHARED = ("experts_asked", "experts_read", "experts_bytes", "experts_wait_s", "there_s", "wire_s")
"""Figures of what an answer had in common with those that were computed with it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: `how`, in words. `chosen` is the number of the sample that is the answer, from 0; None where a
    further answer was written, and where there is none. `votes` are those of all that could be compared."""

    how: str
    chosen: int | None = None
    votes: tuple[Count, ...] = ()


class Samples:
    """The samples of one request. `requests` differ in their seeds alone, which follow that of the options."""

    def __init__(self, request: Request, count: int, combine: Combine = "vote") -> None:
        """Raises RequestError for what can't be answered several times."""
        check_samples(request.options, count, combine)
        if request.tools or request.functions or request.namespaces:
            raise RequestError("several samples can't use tools: leave one of the two out")
        if not request.messages or request.messages[-1].role is Role.ASSISTANT:
            raise RequestError("several samples need a question; an answer that was cut off is continued alone")
        seed = request.options.seed
        self.seed: int = secrets.randbits(32) if seed is None else seed
        """That of the first sample; the others count on from it."""
        self.combine = combine
        self.requests = tuple(self._seeded(request, number) for number in range(count))
        self.tally = Tally()
        self.ended = 0
        """Samples that have ended, whether or not with an answer."""
        self._request = request
        self._answers: dict[int, str] = {}
        self._stopped = 0
        self._shown: list[int] = []  # the numbers of those that the model is shown, in their order there

    def take(self, number: int, text: str, reason: str) -> None:
        """A sample has ended for this reason, with this final text; one that was cut off or is empty has no vote."""
        self.ended += 1
        self._stopped += reason == "cancelled"
        if reason in WHOLE and text.strip():
            self._answers[number] = text
            self.tally.add(number, text)

    @property
    def answers(self) -> int:
        """Samples that have come to an answer."""
        return len(self._answers)

    @property
    def is_decided(self) -> bool:
        """Whether the samples that go on may be stopped."""
        return self.combine == "vote" and self.tally.is_decided(len(self.requests) - self.ended)

    def combination(self) -> Request | Outcome:
        """What is made of the answers there are: an outcome, or what is to be asked for it first.

        Such a request is answered by `conclude`; where it is too long, by `leave_one_out`.
        """
        numbers = sorted(self._answers)
        if not numbers:
            return self._outcome(f"none of {len(self.requests)} came to an answer", None)
        if len(numbers) == 1:
            return self._outcome(f"the only answer of {len(self.requests)}", numbers[0])
        if self.combine == "all":
            return self._outcome(f"the first of {len(numbers)} answers", numbers[0])
        if self.combine == "vote" and (leader := self.tally.leader) is not None:
            tied = ", tied" if self.tally.is_tied else ""
            stopped = f", {self._stopped} stopped" if self._stopped else ""
            return self._outcome(f"votes {leader.votes} of {len(numbers)}{tied}{stopped}", leader.voters[0])
        self._shown = numbers
        random.Random(self.seed).shuffle(self._shown)  # what stands first is preferred
        return self._asked()

    def leave_one_out(self) -> Request | Outcome:
        """The request of `combination` is too long: the longest answer is left out of it."""
        self._shown.remove(max(self._shown, key=lambda number: len(self._answers[number])))
        if len(self._shown) > 1:
            return self._asked()
        return self._outcome(f"one of {self.answers} answers: together they are too long", self._shown[0])

    def conclude(self, text: str) -> Outcome:
        """What came of the request: `text` is the final text of its answer, "" where there is none."""
        count = len(self._shown)
        if self.combine == "select":
            if (place := chosen(text, count)) is not None:
                return self._outcome(f"chosen by the model from {count} answers", self._shown[place])
            return self._fallen_back("the model named none")
        if text.strip():
            return self._outcome(f"written from {count} answers", None)
        return self._fallen_back("the model wrote none from them")

    def break_off(self) -> Outcome:
        """What there is where nobody can be asked any more."""
        if not self._answers:
            return self._outcome("cut off before any answer", None)
        return self._fallen_back("the rest was cut off")

    def _fallen_back(self, why: str) -> Outcome:
        leader = self.tally.leader
        if leader is not None:
            return self._outcome(f"votes {leader.votes} of {self.answers}; {why}", leader.voters[0])
        return self._outcome(f"the first of {self.answers} answers; {why}", min(self._answers))

    def _asked(self) -> Request:
        texts = [self._answers[number] for number in self._shown]
        further = self._seeded(self._request, len(self.requests))
        return choosing(further, texts) if self.combine == "select" else writing(further, texts)

    def _seeded(self, request: Request, number: int) -> Request:
        return replace(request, options=replace(request.options, seed=(self.seed + number) % _SEEDS))

    def _outcome(self, how: str, number: int | None) -> Outcome:
        return Outcome(how, number, tuple(self.tally.counts))


def total(samples: Sequence[Stats], further: Sequence[Stats], seconds: float, seed: int) -> Stats:
    """Figures of samples, which were computed together, and of what was asked for then, in so many seconds: all tokens,
    the first token of all. What they waited for together each of the samples has counted for all (Runner): once."""
    stats = [*samples, *further]
    shared = {
        name: max((getattr(each, name) for each in samples), default=0) + sum(getattr(each, name) for each in further)
        for name in _SHARED
    }
    first = min((each.ttft_s for each in stats if each.ttft_s), default=0.0)
    return Stats(
        prefill_tokens=sum(each.prefill_tokens for each in stats),
        reused_tokens=sum(each.reused_tokens for each in stats),
        decode_tokens=sum(each.decode_tokens for each in stats),
        ttft_s=first,
        prefill_s=first,
        decode_s=max(seconds - first, 0.0),
        peak_memory_bytes=max((each.peak_memory_bytes for each in stats), default=0),
        seed=seed,
        analysis_tokens=sum(each.analysis_tokens for each in stats),
        guessed_tokens=sum(each.guessed_tokens for each in stats),
        accepted_tokens=sum(each.accepted_tokens for each in stats),
        **shared,
    )


def check_samples(options: Options, count: int, combine: str) -> None:
    """Raises RequestError for what no request can be answered several times with."""
    check_combine(combine)
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= MOST:
        raise RequestError(f"samples is {count!r}; it must be a whole number from 2 to {MOST}")
    if options.temperature == 0:
        raise RequestError("samples at temperature 0 are all the same; leave the temperature at 1")


def check_combine(combine: str) -> None:
    """Raises RequestError for what is no way to make one answer of several."""
    if combine not in COMBINE:
        raise RequestError(f"combine is {combine!r}; it must be one of {', '.join(COMBINE)}")
