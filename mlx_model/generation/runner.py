"""From prompt ids to sampled ids: one answer, as a row of a scheduler."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TypeVar

import mlx.core as mx

from mlx_model.errors import ContextError, RequestError
from mlx_model.events import PrefillProgress, Queued, Stats
from mlx_model.generation.constraint import Constraint
from mlx_model.generation.likelihood import Draw
from mlx_model.generation.lookup import PromptLookup
from mlx_model.generation.sampling import Sampler
from mlx_model.generation.scheduler import Draws, Row, Scheduler
from mlx_model.memory import device
from mlx_model.memory.sizes import memory_size
from mlx_model.model import Model
from mlx_model.options import Options

T = TypeVar("T")

Progress = Queued | PrefillProgress
"""What comes before the first token."""

_UNKNOWN = -1
"""Stands for the id of a token that the device has not computed yet."""

_CLEAR_EVERY = 256
"""Tokens decoded between two emptyings of MLX's buffer cache, which else keeps every KV buffer that was outgrown."""


def never() -> bool:
    """The `cancelled` of a caller that never cancels."""
    return False


class Runner:
    """Runs prompts, one after the other, reusing what earlier ones left in the scheduler's KV caches.

    Several runners of one `scheduler`, by default the runner's own, are computed together: see `steps`. `draw` tells
    how likely the id was that was yielded last, where the options ask for that; None if it was forced. After a run has
    ended, `finish_reason` ("stop", "length" or "cancelled") and `stats` tell how it went. A run may go on in another
    thread than it began in: what crosses a `yield` has been computed, or handed to the device.
    """

    def __init__(self, model: Model, scheduler: Scheduler | None = None) -> None:
        self.model = model
        self.scheduler = Scheduler(model) if scheduler is None else scheduler
        self.finish_reason = "stop"
        self.stats = Stats()
        self.draw: Draw | None = None
        self._inserted: list[int] = []
        self._lookup: PromptLookup | None = None
        self._guesses: list[int] = []  # whose keys are in the cache, and which have not been drawn yet
        self._behind_guesses: mx.array | None = None  # logits [guesses, vocab]

    def insert(self, ids: Sequence[int]) -> None:
        """Puts ids behind the token that was yielded last, as if they had been sampled; one prefill computes them.

        The token sampled behind them is yielded next, unless they fill the context or `max_tokens`: then the run ends
        ("length").
        """
        self._inserted += ids

    def run(
        self,
        prompt: list[int],
        options: Options,
        *,
        boundaries: Sequence[int] = (),
        cancelled: Callable[[], bool] = never,
        constraint: Constraint | None = None,
    ) -> Generator[Progress | int, None, None]:
        """Yields how many others it waits for, where memory is short, the progress of the prefill, then each sampled
        id, the stop id included.

        `boundaries` are positions in the prompt that a later prompt may share up to; they stay restorable.
        `cancelled` is asked between prefill chunks and before each token. `constraint` says which tokens may be
        sampled; one that allows all changes no answer. Tokens that it forces are yielded as if they had been sampled,
        and computed in one prefill. Raises RequestError for an empty prompt, for ids outside the vocabulary and in a
        forked process, ContextError for a prompt that leaves no room for an answer, BudgetError where the GPU runs out
        of memory.
        """
        return alone(self.steps(prompt, options, boundaries=boundaries, cancelled=cancelled, constraint=constraint))

    def steps(
        self,
        prompt: list[int],
        options: Options,
        *,
        boundaries: Sequence[int] = (),
        cancelled: Callable[[], bool] = never,
        constraint: Constraint | None = None,
    ) -> Generator[Progress | int | None, None, None]:
        """As `run`, for one of several: yields None before each step that it shares.

        The first of them that is resumed takes the step, for all that have come to theirs. So runs that are read in
        turn, each up to its next None, are computed together. All in one thread.
        """
        start = time.perf_counter()
        room = self._check(prompt)
        limit = room if options.max_tokens is None else min(room, options.max_tokens)
        self.finish_reason = "cancelled"
        self._inserted = []
        self._lookup = PromptLookup(prompt) if options.prompt_lookup else None
        answer_start = max((at for at in boundaries if at < len(prompt)), default=len(prompt) - 1)
        row = self._row = Row(prompt, boundaries, answer_start)
        with self.scheduler.joined(row), self._counting_reads():
            sampler = Sampler(options, self.model.config.vocab_size, prompt)
            self.stats = Stats(seed=sampler.seed)
            logits = yield from self._prefill(prompt, cancelled)
            if logits is not None:
                try:
                    yield from self._answer(self._decode(logits, sampler, constraint), limit, start, cancelled)
                finally:
                    self._withdraw()

    @contextmanager
    def _counting_reads(self) -> Iterator[None]:
        """Adds to the statistics what of experts is read from the disk inside: of answers that are computed together
        each counts all. What is asked for most is remembered for the next start."""
        if (streaming := self.model.transformer.streaming) is None:
            yield
            return
        before = streaming.reads.copy()
        try:
            yield
        finally:
            reads = streaming.reads.since(before)
            self.stats = replace(
                self.stats,
                experts_asked=reads.asked,
                experts_read=reads.read,
                experts_bytes=reads.nbytes,
                experts_wait_s=reads.waited_s,
            )
            streaming.save()

    def settle(self, ids: list[int], *, boundaries: Sequence[int] = ()) -> Generator[int, None, None]:
        """Brings ids into a cache, in chunks; yields how many it holds after each.

        A prompt that continues `ids` then computes only what is new. The end of `ids` and the `boundaries`, where
        messages start, stay restorable. Does nothing if `ids` fill the context.
        """
        self.model.check_process()
        if len(ids) >= self.model.context_length:
            return
        chunk = self.model.transformer.compute.settle_chunk
        row = Row(ids, boundaries, max(boundaries, default=len(ids)), most=chunk, wants_logits=False)
        with self.scheduler.joined(row):
            while row.pending:
                for _ in self.scheduler.wait(row):
                    pass
                if row.runs:
                    yield len(row.prefix.ids)
            row.prefix.cache.snapshot()

    def _answer(
        self, tokens: Iterator[int | None], limit: int, start: float, cancelled: Callable[[], bool]
    ) -> Iterator[int | None]:
        """The tokens up to a stop id or the limit, counted and timed."""
        first_s, count, inserted = 0.0, 0, 0
        away = self.model.away_s
        for token in tokens:
            if cancelled():
                return
            if token is None:
                yield None
                continue
            count += 1
            now, (there_s, wire_s) = time.perf_counter(), self.model.away_s
            first_s = first_s or now
            self.stats = replace(
                self.stats,
                decode_tokens=count,
                ttft_s=first_s - start,
                prefill_s=first_s - start,
                decode_s=now - first_s,
                there_s=there_s - away[0],
                wire_s=wire_s - away[1],
                peak_memory_bytes=device.peak_memory_bytes(self.model.transformer.embedding.mapped_bytes),
                guessed_tokens=0 if self._lookup is None else self._lookup.guessed,
                accepted_tokens=0 if self._lookup is None else self._lookup.accepted,
            )
            yield token
            if token in self.model.stop_ids:
                self.finish_reason = "stop"
                return
            inserted += len(self._inserted)
            if count + inserted >= limit:
                self.finish_reason = "length"
                return
            if count % _CLEAR_EVERY == 0:
                mx.clear_cache()

    def _check(self, prompt: list[int]) -> int:
        """How many tokens an answer to this prompt may have."""
        self.model.check_process()
        if not prompt:
            raise RequestError("the prompt is empty")
        vocab = self.model.config.vocab_size
        bad = next((token for token in prompt if not 0 <= token < vocab), None)
        if bad is not None:
            raise RequestError(f"the prompt has the id {bad}, but this model's vocabulary ends at {vocab - 1}")
        room = self.model.context_length - len(prompt)
        if room < 1:
            raise ContextError(
                f"the prompt has {len(prompt):,} tokens, but the context holds {self.model.context_length:,}"
                f"{self._why()}; shorten the prompt or start a new chat"
            )
        return room

    def _why(self) -> str:
        """Why the context is as short as it is, if the model's is longer."""
        plan, longest = self.model.plan, self.model.config.max_position_embeddings
        return (
            "" if plan.context == longest else f" (the model's {longest:,} don't fit into {memory_size(plan.budget)})"
        )

    def _prefill(
        self, prompt: list[int], cancelled: Callable[[], bool]
    ) -> Generator[Progress | None, None, mx.array | None]:
        """Brings the whole prompt into the cache; returns the last token's logits [vocab], None if cancelled."""
        row, told, before = self._row, None, 0
        while True:
            if (waits_for := self.scheduler.before(row)) not in (0, before):
                before = waits_for
                yield Queued(before)
            if row.runs and row.reused is not None and (done := len(row.prefix.ids)) != told:
                told = done
                self.stats = replace(self.stats, reused_tokens=row.reused, prefill_tokens=done - row.reused)
                yield PrefillProgress(done, len(prompt))
            if row.logits is not None:
                return row.logits
            if cancelled():
                return None
            yield from self.scheduler.wait(row)

    def _decode(self, logits: mx.array, sampler: Sampler, constraint: Constraint | None) -> Iterator[int | None]:
        """Samples, feeds the sample back, and so on without end; the caller stops.

        On a GPU the next step is under way before this one's token is looked at, so that the device never waits for
        Python. The CPU computes where it is called, so there a step ahead would only delay the token. Nor is there a
        step ahead where tokens are guessed, since a guess needs the one before it.
        """
        if not self.model.transformer.compute.steps_ahead or self._lookup is not None:
            return self._one_by_one(logits, sampler, constraint)
        if constraint is None:
            return self._token_ahead(logits, sampler)
        return self._logits_ahead(logits, sampler, constraint)

    def _one_by_one(self, logits: mx.array, sampler: Sampler, constraint: Constraint | None) -> Iterator[int | None]:
        """Each token when its logits are known; what nothing else decides is drawn along with the other rows'."""
        while True:
            run = yield from self._forced(constraint)
            if run or self._inserted:
                logits = yield from self._behind(run, sampler, constraint)
            token = sampler(logits, None if constraint is None else constraint.mask())
            mx.eval(token, self._row.prefix.cache.present(), sampler.state())
            sampled = int(token.item())  # type: ignore[arg-type]  # an integer scalar
            if constraint is not None and not constraint.accept(sampled):
                sampler.take_back()
                continue
            self.draw = sampler.drawn()
            yield sampled
            logits = yield from self._next(token, sampled, sampler.ahead if constraint is None else None)

    def _next(self, token: mx.array, sampled: int, draws: Draws | None) -> Generator[None, None, mx.array]:
        """The logits [vocab] behind a token that was drawn, which are known already if it was guessed right.

        Tokens are drawn from the same logits with the same keys whether they were guessed or not, so guesses change no
        answer. For a guess that is certain of its token this is the acceptance rule of Leviathan et al. (2023): it
        stays with the probability that the model gives it, and else the token is drawn from the rest.
        """
        lookup = self._lookup
        if lookup is None:
            return (yield from self._feed(token, sampled, draws))
        if lookup.take(sampled) and self._behind_guesses is not None:
            place = len(self._behind_guesses) - len(self._guesses)
            del self._guesses[0]
            return self._behind_guesses[place]
        self._withdraw()
        if not (guesses := self._guess(lookup)):
            return (yield from self._feed(token, sampled))
        self._row.bring([sampled, *guesses], len(guesses))
        logits = yield from self._logits()
        if logits.ndim == 1:  # its cache was taken away from it before
            return logits
        self._guesses, self._behind_guesses = guesses, logits[1:]
        return logits[0]

    def _guess(self, lookup: PromptLookup) -> list[int]:
        """What to compute beside the next token. Beside other rows a longer step would be one of its own."""
        room = self.model.context_length - len(self._row.prefix.ids) - 1 if self._row.runs else 0
        return [*lookup.guess(room)] if self.scheduler.is_alone(self._row) and not self._inserted else []

    def _withdraw(self) -> None:
        """Takes guesses that have not come out of the cache again."""
        if self._guesses and self._row.runs:
            self._row.prefix.take_back(len(self._guesses))
        self._guesses = []

    def _token_ahead(self, logits: mx.array, sampler: Sampler) -> Iterator[int | None]:
        """The device computes the next token while this one is used: one graph from a token to the next."""
        token = sampler(logits)
        while True:
            ahead = sampler((yield from self._feed(token, _UNKNOWN)))
            _submit(ahead, self._row.prefix.cache.present(), sampler.state())
            self.draw = sampler.drawn()
            yield self._known(token)
            token = ahead
            if self._inserted:
                sampler.take_back()
                token = sampler((yield from self._behind([], sampler)))

    def _logits_ahead(self, logits: mx.array, sampler: Sampler, constraint: Constraint) -> Iterator[int | None]:
        """The device computes the next logits while this token is used and the next mask is made.

        Two evaluations, so that the token is there before the logits are. A token that is refused was fed in vain.
        """
        while True:
            run = yield from self._forced(constraint)
            if run or self._inserted:
                logits = yield from self._behind(run, sampler, constraint)
            token = sampler(logits, constraint.mask())
            _submit(token, sampler.state())
            ahead = yield from self._feed(token, _UNKNOWN)
            _submit(ahead, self._row.prefix.cache.present())
            sampled = self._known(token)
            if not constraint.accept(sampled):
                sampler.take_back()
                self._row.prefix.take_back()
                continue
            self.draw = sampler.drawn()
            yield sampled
            logits = ahead

    def _forced(self, constraint: Constraint | None) -> Generator[int, None, list[int]]:
        """Yields the ids that can only come next; returns them, for none of them is in the cache yet."""
        run: list[int] = []
        if constraint is None or self._inserted or not (forced := constraint.forced()):
            return run
        _submit(self._row.prefix.cache.present())  # nothing lazy may cross a yield
        for token in forced:
            constraint.accept(token)
            run.append(token)
            self.draw = None
            yield token
            if self._inserted:
                break
        return run

    def _behind(
        self, run: list[int], sampler: Sampler, constraint: Constraint | None = None
    ) -> Generator[None, None, mx.array]:
        """Brings ids that were not drawn into the cache, a run and what was inserted behind it; returns the last one's
        logits [vocab]."""
        ids, self._inserted = [*run, *self._inserted], []
        self._withdraw()
        sampler.skip(ids)
        if self._lookup is not None:
            self._lookup.skip(ids)
        if constraint is not None:
            for token in ids[len(run) :]:
                constraint.accept(token)
        if len(ids) == 1:
            return (yield from self._feed(mx.array(ids), ids[0]))
        self._row.bring(ids)
        return (yield from self._logits())

    def _known(self, token: mx.array) -> int:
        """Waits for a token that has been fed, and notes its id as cached."""
        self._row.prefix.ids[-1] = sampled = int(token.item())  # type: ignore[arg-type]  # an integer scalar
        return sampled

    def _feed(self, token: mx.array, sampled: int, draws: Draws | None = None) -> Generator[None, None, mx.array]:
        """The logits [vocab] behind a token, whose id may not be known yet."""
        self._row.feed(token, sampled, draws)
        return (yield from self._logits())

    def _logits(self) -> Generator[None, None, mx.array]:
        """Waits for what the row has asked for."""
        while self._row.logits is None:
            yield from self.scheduler.wait(self._row)
        return self._row.logits


def alone(steps: Generator[T | None, None, None]) -> Generator[T, None, None]:
    """What the steps of one answer yield, for who reads no other in between."""
    with closing(steps):
        yield from (item for item in steps if item is not None)


def _submit(*arrays: mx.array | list[mx.array]) -> None:
    """Hands arrays to the device without waiting for them."""
    mx.async_eval(*arrays)  # type: ignore[no-untyped-call]
