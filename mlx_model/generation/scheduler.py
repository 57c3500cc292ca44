"""Rows that are computed together: one decode step for all of them, prompts in chunks between the steps."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Literal

import mlx.core as mx

from mlx_model.generation.prefixes import Prefix, PrefixPool, common_prefix
from mlx_model.memory import device
from mlx_model.model import Model

Draws = Callable[[mx.array], object]
"""Makes lazy arrays of a row's logits, which are evaluated with those of the other rows."""


class Row:
    """One sequence: ids on their way into a KV cache, and the logits behind them.

    `ids` are what it begins with; they come in by chunks of at most `most`. The `boundaries` stay restorable,
    `answer_start` is Prefix's. Without `wants_logits` none are computed behind `ids`. `logits` [vocab] are there once
    all that was asked for is in the cache, with guesses [1 + guesses, vocab], `error` once a step has failed.
    """

    def __init__(
        self,
        ids: Iterable[int],
        boundaries: Sequence[int],
        answer_start: int,
        *,
        most: int | None = None,
        wants_logits: bool = True,
    ) -> None:
        self.boundaries = boundaries
        self.answer_start = answer_start
        self.most = most
        self.pending = [*ids]
        self.guesses = 0
        """How many of `pending`, at its end, are guesses."""
        self.is_prompt = True
        """Whether `pending` is a whole prompt, and not a run of ids within an answer."""
        self.turn = 0
        self.token: mx.array | None = None
        self.token_id = 0
        self.logits: mx.array | None = None
        self.draws: Draws | None = None
        self.error: BaseException | None = None
        self.reused: int | None = None
        """Tokens of the prompt that its cache held at first; None before it has one."""
        self._wants_logits = wants_logits
        self._prefix: Prefix | None = None

    @property
    def prefix(self) -> Prefix:
        """Its KV cache, which it has while it `runs`."""
        assert self._prefix is not None
        return self._prefix

    @property
    def runs(self) -> bool:
        """Whether it has a KV cache; if not, it waits for memory."""
        return self._prefix is not None

    @property
    def is_due(self) -> bool:
        """Whether a step is to compute something for it."""
        return bool(self.pending) or self.token is not None

    @property
    def ends_in_logits(self) -> bool:
        """Whether logits are needed behind the last of `pending`."""
        return self._wants_logits and self.token is None

    def feed(self, token: mx.array, token_id: int, draws: Draws | None = None) -> None:
        """Asks for the logits behind a token, which may be lazy; `token_id` is noted for it."""
        self.token, self.token_id, self.logits, self.draws = token, token_id, None, draws

    def bring(self, ids: list[int], guesses: int = 0) -> None:
        """Asks for the logits behind several ids; where the last of them are guesses, also behind each of those."""
        self.pending, self.guesses, self.logits = ids, guesses, None

    def may_fork(self, other: "Row") -> bool:
        """Whether the ids that a running row computes next are wanted here too, as are all before them."""
        ids = [*other.prefix.ids, *other.pending[:1]]
        return bool(other.pending) and common_prefix(ids, self.pending) == len(ids)

    def begin(self, prefix: Prefix) -> None:
        """Gets a cache, which holds a part of `pending`, maybe none."""
        self._prefix = prefix
        if self.reused is None:
            self.reused = len(prefix.ids)
        del self.pending[: len(prefix.ids)]
        prefix.in_use = True
        prefix.answer_start = self.answer_start
        prefix.cache.mark(self.boundaries)

    def give_back(self) -> Prefix:
        """Returns its cache; what that holds is pending again, but guesses are not."""
        prefix, self._prefix = self.prefix, None
        pending = self.pending[: len(self.pending) - self.guesses]
        self.pending, self.guesses, self.is_prompt = [*prefix.ids, *pending], 0, True
        prefix.in_use = False
        return prefix


class Scheduler:
    """Owns the rows of one model and their KV caches. Rows join and leave between any two steps.

    What comes of a row does not depend on its neighbours, but for the rounding of sums (see Transformer; on a CPU, see
    CompiledTransformer). Together the caches keep to the memory plan: a row that does not fit waits, in the order of
    joining; where those that run outgrow the plan, the one that joined last waits until others have left, and is then
    computed again.

    A step and the use of its logits, which may be lazy, belong to one thread.
    """

    def __init__(self, model: Model) -> None:
        self.prefixes = PrefixPool(model)
        self._model = model
        self._rows: list[Row] = []
        self._turns = count()
        self._taken = 0  # steps

    @contextmanager
    def joined(self, row: Row) -> Iterator[None]:
        """Has the row among the others while what is inside runs; at once if there is room for it.

        Its cache stays for later prompts, unless something fails: keys that were never computed must not answer them.
        """
        row.turn = next(self._turns)
        self._rows.append(row)
        try:
            with device.memory_errors():
                with suppress(GeneratorExit):  # a caller that reads no further is no failure
                    self._admit()
                    yield
                # What is still lazy belongs to this thread's stream, and the next prompt may come in another thread.
                if row.runs and row.error is None and self._model.usable:
                    mx.eval(row.prefix.cache.arrays())
        except BaseException as error:
            row.error = error
            raise
        finally:
            self._rows.remove(row)
            if row.runs:
                prefix = row.give_back()
                if row.error is not None:
                    self.prefixes.drop(prefix)

    def wait(self, row: Row) -> Generator[None, None, None]:
        """Lets the other rows come to where they wait too; then takes the step for all, unless one of them has.

        Raises what the row's step has failed with. The step may have done nothing for it.
        """
        taken = self._taken
        yield None
        if self._taken == taken:
            self.step()
        if row.error is not None:
            raise row.error

    def before(self, row: Row) -> int:
        """How many rows have joined before one that waits for memory; 0 if it doesn't."""
        waits = not row.runs and row.error is None and not any(map(row.may_fork, self._running()))
        return self._rows.index(row) if waits else 0

    def is_alone(self, row: Row) -> bool:
        """Whether nobody else has joined."""
        return self._rows == [row]

    def step(self) -> None:
        """Computes the token of every row that decodes, then a chunk of one prompt, and runs of ids within answers.

        What fails is the `error` of the rows that took part.
        """
        self._taken += 1
        self._admit()
        growing = self._growing()
        while not self.prefixes.make_room({row.prefix: size for row, size in growing.items()}) and self._put_back():
            growing = self._growing()
        if decoding := [row for row in growing if not row.pending]:
            self._try(partial(self._decode, decoding), *decoding)
        for row, size in growing.items():
            if row.pending:
                self._try(partial(self._fill, row, size), row)

    def _try(self, compute: Callable[[], None], *rows: Row) -> None:
        try:
            with device.memory_errors():
                compute()
        except BaseException as error:
            for row in rows:
                row.error = error
            if not isinstance(error, Exception):
                raise

    def _admit(self) -> None:
        """Gives caches to rows that wait, in their order, while there is room; one alone always has it.

        A row whose next ids are being computed for another one waits for those: it gets a fork.
        """
        for row in self._rows:
            running = self._running()
            if row.runs or row.error is not None or any(map(row.may_fork, running)):
                continue
            growing = {other.prefix: len(other.pending) + 1 for other in running}
            if running and not self.prefixes.fits(row.pending, len(row.boundaries), growing):
                return
            self._try(partial(self._begin, row), row)

    def _begin(self, row: Row) -> None:
        # Where logits are needed behind the last id, no cache has those: it is computed.
        with self.prefixes.lock:  # what has been taken is not another Session's to drop
            row.begin(self.prefixes.take(row.pending[:-1] if row.ends_in_logits else row.pending))
        mx.eval(row.prefix.cache.arrays())  # a rewind leaves lazy slices

    def _running(self) -> list[Row]:
        return [row for row in self._rows if row.runs and row.error is None]

    def _growing(self) -> dict[Row, int]:
        """The rows of which the next step computes something, and how many ids of each. Prompts take turns."""
        due = [row for row in self._running() if row.is_due]
        prompts = sorted((row for row in due if row.pending and row.is_prompt), key=lambda row: row.turn)
        return {row: self._size(row) for row in due if row not in prompts[1:]}

    def _size(self, row: Row) -> int:
        if not row.pending or row.guesses:
            return len(row.pending) or 1
        chunk = self._model.prefill_chunk(len(row.prefix.ids))
        return min(len(row.pending), chunk if row.most is None else min(row.most, chunk))

    def _put_back(self) -> bool:
        """Takes the cache away from the row that joined last, if others want to go on too; whether it did."""
        due = [row for row in self._running() if row.is_due]
        if len(due) > 1:
            due[-1].give_back()
        return len(due) > 1

    def _decode(self, rows: Sequence[Row]) -> None:
        tokens = mx.concatenate([row.token.reshape(1, 1) for row in rows if row.token is not None], axis=1)
        logits = self._model.transformer(tokens, [row.prefix.cache for row in rows], "all")
        for row, own in zip(rows, mx.split(logits, len(rows), axis=1), strict=True):
            row.prefix.ids.append(row.token_id)
            row.token, row.logits = None, own.flatten()
        # Each evaluation is a way to MLX's thread and back, which takes longer than to draw a token.
        mx.eval([row.draws(row.logits) for row in rows if row.draws is not None and row.logits is not None])
        if len(rows) > 1 and self._model.transformer.compute.steps_ahead:
            mx.async_eval(logits)  # type: ignore[no-untyped-call]  # while the rows make their samples' graphs

    def _fill(self, row: Row, size: int) -> None:
        prefix = row.prefix
        chunk, rest = row.pending[:size], row.pending[size:]
        with_logits = row.ends_in_logits and not rest
        # Without logits only the caches are asked for, which spares the top layer's experts.
        wanted: Literal["all", "last", "none"] = "none" if not with_logits else "all" if row.guesses else "last"
        computed = self._model.transformer(mx.array([chunk]), [prefix.cache], wanted)
        prefix.ids += chunk
        row.pending, row.turn = rest, next(self._turns)
        row.logits = None if not with_logits else computed.squeeze(0) if row.guesses else computed.flatten()
        row.guesses = 0
        mx.eval(prefix.cache.arrays(), [] if row.logits is None else row.logits)
        if row.is_prompt:
            mx.clear_cache()  # buffers of another size than the next ones
            row.is_prompt = bool(rest)
