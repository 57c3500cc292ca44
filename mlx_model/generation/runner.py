"""From prompt ids to sampled ids, with the KV cache kept from one prompt to the next."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import Literal

import mlx.core as mx

from mlx_model.errors import ContextError, RequestError
from mlx_model.events import PrefillProgress, Stats
from mlx_model.generation.sampling import Sampler
from mlx_model.memory import device
from mlx_model.memory.sizes import gigabytes
from mlx_model.model import Model
from mlx_model.options import Options

_UNKNOWN = -1
"""Stands for the id of a token that the device has not computed yet."""

_CLEAR_EVERY = 256
"""Tokens decoded between two emptyings of MLX's buffer cache, which else keeps every KV buffer that was outgrown."""


def never() -> bool:
    """The `cancelled` of a caller that never cancels."""
    return False


class Runner:
    """Runs prompts through one model, one after the other, reusing what the last ones left in the KV cache.

    After `run` has ended, `finish_reason` ("stop", "length" or "cancelled") and `stats` tell how it went.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.finish_reason = "stop"
        self.stats = Stats()
        self.reset()

    def reset(self) -> None:
        """Forgets everything in the KV cache."""
        self._cache = self.model.make_cache()
        self._cached: list[int] = []

    def run(
        self,
        prompt: list[int],
        options: Options,
        *,
        boundaries: Iterable[int] = (),
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[PrefillProgress | int]:
        """Yields the progress of the prefill, then each sampled id, the stop id included.

        `boundaries` are positions in the prompt that a later prompt may share up to; they stay restorable.
        `cancelled` is asked between prefill chunks and before each token. Raises RequestError for an empty prompt and
        for ids outside the vocabulary, ContextError for a prompt that leaves no room for an answer, BudgetError
        where the GPU runs out of memory.
        """
        start = time.perf_counter()
        room = self._check(prompt)
        limit = room if options.max_tokens is None else min(room, options.max_tokens)
        self.finish_reason = "cancelled"
        try:
            with device.memory_errors():
                yield from self._run(prompt, options, limit, start, boundaries, cancelled)
        except GeneratorExit:
            raise
        except BaseException:
            # Whatever failed, and wherever: keys that were never computed must not answer the next prompt.
            self.reset()
            raise
        finally:
            # What is still lazy belongs to this thread's stream, and the next prompt may come in another thread.
            mx.eval(self._cache.arrays())

    def _run(
        self,
        prompt: list[int],
        options: Options,
        limit: int,
        start: float,
        boundaries: Iterable[int],
        cancelled: Callable[[], bool],
    ) -> Iterator[PrefillProgress | int]:
        sampler = Sampler(options, self.model.config.vocab_size, prompt)
        reused = self._rewind(prompt)
        self._cache.mark(boundaries)
        self.stats = Stats(reused_tokens=reused, seed=sampler.seed)
        logits = yield from self._prefill(prompt, cancelled)
        self.stats = replace(self.stats, prefill_tokens=len(self._cached) - reused)
        if logits is None:
            return
        first_s = 0.0
        for count, token in enumerate(self._decode(logits, sampler), 1):
            if cancelled():
                return
            now = time.perf_counter()
            first_s = first_s or now
            self.stats = replace(
                self.stats,
                decode_tokens=count,
                ttft_s=first_s - start,
                prefill_s=first_s - start,
                decode_s=now - first_s,
                peak_memory_bytes=device.peak_memory_bytes(self.model.transformer.embedding.mapped_bytes),
            )
            yield token
            if token in self.model.stop_ids:
                self.finish_reason = "stop"
                return
            if count >= limit:
                self.finish_reason = "length"
                return
            if count % _CLEAR_EVERY == 0:
                mx.clear_cache()

    def _check(self, prompt: list[int]) -> int:
        """How many tokens an answer to this prompt may have."""
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
                f"{self._why()}; shorten it or start a new chat"
            )
        return room

    def _why(self) -> str:
        """Why the context is as short as it is, if the model's is longer."""
        plan, longest = self.model.plan, self.model.config.max_position_embeddings
        return "" if plan.context == longest else f" of {longest:,} in {gigabytes(plan.budget)} of memory"

    def _rewind(self, prompt: list[int]) -> int:
        """Goes back to the longest restorable prefix that the cache shares with the prompt; returns its length.

        At least the prompt's last token is left to compute, since its logits are needed.
        """
        pairs = zip(self._cached, prompt[:-1], strict=False)
        common = next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(self._cached), len(prompt) - 1))
        position = self._cache.restore(common)
        del self._cached[position:]
        return position

    def _prefill(
        self, prompt: list[int], cancelled: Callable[[], bool]
    ) -> Generator[PrefillProgress, None, mx.array | None]:
        """Brings the whole prompt into the cache; returns the last token's logits [vocab], None if cancelled."""
        logits = None
        yield PrefillProgress(len(self._cached), len(prompt))
        while (done := len(self._cached)) < len(prompt):
            if cancelled():
                return None
            chunk = prompt[done : done + self.model.prefill_chunk(done)]
            is_last = done + len(chunk) == len(prompt)
            result = self._forward(mx.array([chunk]), chunk, "last" if is_last else "none")
            logits = result.flatten() if is_last else None
            # Without the last chunk's logits only the caches are asked for, which spares the top layer's experts.
            mx.eval(self._cache.arrays(), *([logits] if logits is not None else []))
            mx.clear_cache()
            yield PrefillProgress(len(self._cached), len(prompt))
        return logits

    def _decode(self, logits: mx.array, sampler: Sampler) -> Iterator[int]:
        """Samples, feeds the sample back, and so on; whoever iterates decides when to stop.

        On a GPU the next step is under way before this one's token is looked at, so that the device never waits for
        Python. The CPU computes where it is called, so there a step ahead would only delay the token.
        """
        token = sampler(logits)
        while True:
            ahead = None
            if device.on_gpu():
                ahead = self._step(token, _UNKNOWN, sampler)
                mx.async_eval(ahead)
            sampled = int(token.item())  # type: ignore[arg-type]  # an integer scalar
            if ahead is not None:
                self._cached[-1] = sampled
            yield sampled
            token = self._step(token, sampled, sampler) if ahead is None else ahead

    def _step(self, token: mx.array, sampled: int, sampler: Sampler) -> mx.array:
        """Feeds a token, whose id may not be known yet, and samples the next."""
        return sampler(self._forward(token.reshape(1, 1), [sampled], "last").flatten())

    def _forward(self, tokens: mx.array, ids: list[int], logits: Literal["last", "none"]) -> mx.array:
        """One pass; `ids` are noted as cached."""
        result = self.model.transformer(tokens, self._cache, logits)
        self._cached += ids
        return result
