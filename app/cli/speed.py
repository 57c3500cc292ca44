"""Measures a loaded model on this machine: prefill, decoding, the next turn, each kernel, copying memory."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from statistics import median

import mlx.core as mx
import numpy as np

from metal.trust.timing import cold_arguments, seconds_per_run
from mlx_model.events import Finished, Stats
from mlx_model.generation.runner import Runner
from mlx_model.generation.session import Session
from mlx_model.harmony.message import Message, assistant, user
from mlx_model.model import Model
from mlx_model.options import Options
from mlx_model.request import Request
from mlx_model.transformer.kernels import decode_operations

PROMPTS = (64, 512, 2048, 8192)
"""Tokens of the prompts whose prefill is timed, and after which decoding is."""

_TEXT_IDS = 199_998
"""From here on gpt-oss's vocabulary has special tokens."""

_ROUNDS = 3
_TURN_TOKENS = 400
"""Prompt tokens that a round of `next_turn` computes, about."""

_COPY_BYTES = 256 << 20
"""More than any chip's caches, little beside a model."""

_ANSWER = assistant("There are three of them, and here is a sentence more about it. " * 4)
_QUESTION = user("How many r's are in strawberry?")


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second of a prompt of `tokens` and of the answer after it, medians of a few runs.

    `portable_decode_tok_s` is that of MLX's own operations alone, where Metal kernels took part in the other.
    """

    tokens: int
    prefill_tok_s: float
    decode_tok_s: float
    portable_decode_tok_s: float | None


@dataclass(frozen=True, slots=True)
class NextTurn:
    """A chat's second answer: milliseconds to its first token, and prompt tokens computed for it.

    With what the first turn left in the KV cache, and with nothing.
    """

    reused_ms: float
    reused_computed: int
    fresh_ms: float
    fresh_computed: int


@dataclass(frozen=True, slots=True)
class KernelSpeed:
    """One operation of the decode step as it runs: microseconds, GB/s of weights, microseconds by MLX's operations."""

    operation: str
    microseconds: float
    gigabytes_s: float
    portable_microseconds: float


class _Endless(Model):
    """A model that no token stops, so that as many are decoded as were asked for."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """None."""
        return frozenset()


def speeds(model: Model, tokens: int, longest_s: float, *, prompts: tuple[int, ...] = PROMPTS) -> Iterator[Speed | str]:
    """Times prompts, and answers of so many `tokens`; what is left out comes as a sentence that says why.

    Left out is what doesn't fit into the context, and what would take longer than `longest_s` seconds by the speed of
    the prompt before it: the first is always timed.
    """
    endless = _Endless(**{part.name: getattr(model, part.name) for part in fields(model)})
    # Kernels are compiled and clocks ramp up in a run that doesn't count.
    token_s = 1 / _run(endless, prompts[0], 2).prefill_tok_s
    for prompt in prompts:
        if prompt + tokens > model.context_length:
            yield f"a prompt of {prompt:,} tokens: the context holds {model.context_length:,}"
        elif (expected_s := prompt * token_s) > longest_s and prompt != prompts[0]:
            yield f"a prompt of {prompt:,} tokens: it would take about {expected_s:.0f} s"
        else:
            speed = _speed(endless, prompt, tokens, _ROUNDS if _ROUNDS * expected_s < longest_s else 1)
            token_s = 1 / speed.prefill_tok_s
            yield speed


def _speed(model: Model, prompt: int, tokens: int, rounds: int) -> Speed:
    with_kernels, portable = [], []
    decoder = model.transformer.decoder
    for _ in range(rounds):
        with_kernels.append(_run(model, prompt, tokens))
        if decoder is not None:
            model.transformer.decoder = None
            try:
                portable.append(_run(model, prompt, tokens).decode_tok_s)
            finally:
                model.transformer.decoder = decoder
    return Speed(
        prompt,
        median(stats.prefill_tok_s for stats in with_kernels),
        median(stats.decode_tok_s for stats in with_kernels),
        median(portable) if portable else None,
    )


def _run(model: Model, prompt: int, tokens: int) -> Stats:
    """A prompt of random text ids, so that all experts take part, and `tokens` tokens after it."""
    ids = np.random.default_rng(prompt).integers(0, min(model.config.vocab_size, _TEXT_IDS), prompt)
    runner = Runner(model)
    for _ in runner.run(ids.tolist(), Options(temperature=0, max_tokens=tokens)):
        pass
    return runner.stats


def next_turn(model: Model, token_s: float, longest_s: float) -> NextTurn | str:
    """Times the first token of a chat's second answer, or says in a sentence why not.

    Not without a tokenizer, and not where it would take longer than `longest_s` seconds at `token_s` a prompt token.
    """
    if model.tokenizer is None:
        return "the next turn of a chat: the model has no tokenizer"
    if (expected_s := _ROUNDS * _TURN_TOKENS * token_s) > longest_s:
        return f"the next turn of a chat: it would take about {expected_s:.0f} s"
    turns = [_QUESTION, _ANSWER, _QUESTION]
    reused, fresh = [], []
    for _ in range(_ROUNDS):
        session = Session(model)
        _first_token(session, turns[:1])
        reused.append(_first_token(session, turns))
        fresh.append(_first_token(Session(model), turns))
    return NextTurn(
        1e3 * median(stats.ttft_s for stats in reused),
        reused[0].prefill_tokens,
        1e3 * median(stats.ttft_s for stats in fresh),
        fresh[0].prefill_tokens,
    )


def _first_token(session: Session, messages: list[Message]) -> Stats:
    *_, last = session.stream(Request(messages, Options(temperature=0, max_tokens=1)))
    return last.stats if isinstance(last, Finished) else Stats()


def kernel_speeds(model: Model) -> Iterator[KernelSpeed]:
    """Times each operation that runs by a Metal kernel, on weights that no cache holds, beside MLX's operations."""
    decoder = model.transformer.decoder
    if decoder is None:
        return
    for operation in decode_operations(decoder, model.transformer):
        variant = decoder.choice[operation.name]
        if variant is not None:
            seconds = seconds_per_run(operation, [variant, None], cold_arguments(operation))
            ours, portable = seconds[variant], seconds[None]
            yield KernelSpeed(operation.name, 1e6 * ours, operation.weight_bytes / ours / 1e9, 1e6 * portable)


def copy_gigabytes_s() -> float:
    """What the device reads and writes when it copies memory, in 10^9 bytes a second: the best of a few runs."""
    source = mx.ones((_COPY_BYTES // 4,), mx.float32)
    mx.eval(source)
    best = 0.0
    for _ in range(_ROUNDS + 1):
        start = time.perf_counter()
        mx.eval(source + 1)
        best = max(best, 2 * _COPY_BYTES / (time.perf_counter() - start) / 1e9)
    return best
