"""Measures a loaded model on this machine: prefill, decoding, the next turn, each kernel, launches, bandwidth."""

import io
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from statistics import median

import mlx.core as mx
import numpy as np

from app.cli.measurements import Bandwidth, ExpertReads, KernelSpeed, NextTurn, Speed
from metal.operation import Operation, Variant
from metal.trust.timing import cold_arguments, seconds_per_run
from mlx_model.events import Finished, Stats
from mlx_model.generation.runner import Runner
from mlx_model.generation.session import Session
from mlx_model.harmony.message import Message, assistant, user
from mlx_model.model import Model
from mlx_model.options import Options
from mlx_model.request import Request
from mlx_model.transformer.blocks import Transformer
from mlx_model.transformer.kernels import decode_operations
from mlx_model.transformer.several_rows import SeveralRows

PROMPTS = (64, 512, 2048, 8192)
"""Tokens of the prompts whose prefill is timed, and after which decoding is."""

_TEXT_IDS = 199_998
"""From here on gpt-oss's vocabulary has special tokens."""

_SEVERAL = (2, 4, 8)
"""Rows of activations that kernels are made for."""

_ROUNDS = 3
_WARM_TOKENS = 4
_TURN_TOKENS = 400
"""Prompt tokens that a round of `next_turn` computes, about."""

_READ_TOKENS = 32
"""Decoded tokens over which reads from the disk are averaged."""

_BANDWIDTH_BYTES = 256 << 20
"""More than any chip's caches, little beside a model."""

_VIEWS = frozenset(
    [
        *("AsStrided", "Broadcast", "BroadcastAxes", "Copy", "Depends", "ExpandDims", "Flatten", "Reshape", "Slice"),
        *("Split", "Squeeze", "StopGradient", "Transpose", "Unflatten", "View"),
    ]
)
"""Primitives of MLX that launch nothing: other strides on the same buffer (mlx/backend/common/common.cpp)."""

_ANSWER = assistant("There are three of them, and here is a sentence more about it. " * 4)
_QUESTION = user("How many r's are in strawberry?")


class _Endless(Model):
    """A model that no token stops, so that as many are decoded as were asked for."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """None."""
        return frozenset()


def warm_up(model: Model) -> Stats:
    """A short prompt and answer: kernels are compiled and clocks ramp up in a run that counts for nothing but the
    guess at how long others take."""
    return _run(endless(model), PROMPTS[0], _WARM_TOKENS)


def expected_s(warm: Stats, tokens: int, longest_s: float, context: int, *, twice: bool) -> float:
    """Seconds that `speeds` and `next_turn` will take, about, by the speed of `warm_up`; `twice` where decoding is
    timed without kernels too."""
    token_s, decoded_s = 1 / warm.prefill_tok_s, tokens / (warm.decode_tok_s or warm.prefill_tok_s)
    total = min(longest_s, 2 * _ROUNDS * _TURN_TOKENS * token_s)
    for prompt in PROMPTS:
        once_s = prompt * token_s
        if prompt + tokens <= context and (once_s <= longest_s or prompt == PROMPTS[0]):
            total += _rounds(once_s, longest_s) * (1 + twice) * (once_s + decoded_s)
    return total


def speeds(
    model: Model,
    warm: Stats,
    tokens: int,
    longest_s: float,
    *,
    prompts: tuple[int, ...] = PROMPTS,
    starting: Callable[[int, float], None] = lambda prompt, seconds: None,
) -> Iterator[Speed | str]:
    """Times prompts, and answers of so many `tokens`; what is left out comes as a sentence that says why.

    Left out is what doesn't fit into the context, and what would take longer than `longest_s` seconds by the speed of
    the prompt before it, which is `warm` at first: the first is always timed. `starting` is told each that is, and the
    seconds that its prompts will take.
    """
    unstopped = endless(model)
    token_s = 1 / warm.prefill_tok_s
    for prompt in prompts:
        if prompt + tokens > model.context_length:
            yield f"a prompt of {prompt:,} tokens: the context holds {model.context_length:,}"
        elif (once_s := prompt * token_s) > longest_s and prompt != prompts[0]:
            yield f"a prompt of {prompt:,} tokens: it would take about {once_s:.0f} s"
        else:
            rounds = _rounds(once_s, longest_s)
            starting(prompt, rounds * once_s * (1 if model.transformer.decoder is None else 2))
            speed = _speed(unstopped, prompt, tokens, rounds)
            token_s = 1 / speed.prefill_tok_s
            yield speed


def endless(model: Model) -> Model:
    """The same model, whose answers are as long as was asked for."""
    return _Endless(**{part.name: getattr(model, part.name) for part in fields(model)})


def _rounds(once_s: float, longest_s: float) -> int:
    return _ROUNDS if _ROUNDS * once_s < longest_s else 1


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
        max(stats.peak_memory_bytes for stats in with_kernels),
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
        reused[0].reused_tokens,
    )


def _first_token(session: Session, messages: list[Message]) -> Stats:
    *_, last = session.stream(Request(messages, Options(temperature=0, max_tokens=1)))
    return last.stats if isinstance(last, Finished) else Stats()


def expert_reads(model: Model) -> ExpertReads | None:
    """What decoding reads of experts from the disk, after a prompt of random text ids; None where none are there."""
    if (streaming := model.transformer.streaming) is None:
        return None
    ids = np.random.default_rng(0).integers(0, min(model.config.vocab_size, _TEXT_IDS), PROMPTS[0])
    tokens, before = 0, streaming.reads.copy()
    for item in Runner(endless(model)).run(ids.tolist(), Options(temperature=0, max_tokens=_READ_TOKENS + 1)):
        if isinstance(item, int):
            if not tokens:
                before = streaming.reads.copy()
            tokens += 1
    reads = streaming.reads.since(before)
    return ExpertReads(
        model.plan.slots,
        model.config.num_local_experts,
        model.plan.streamed_layers,
        reads.in_memory,
        reads.nbytes / (tokens - 1),
        reads.waited_s / (tokens - 1),
    )


def kernel_speeds(model: Model) -> Iterator[KernelSpeed]:
    """Times each operation that runs by a Metal kernel, on weights that no cache holds, beside MLX's operations.

    Those of several rows too, which are first tried here if no step has needed them yet.
    """
    transformer = model.transformer
    if not isinstance(transformer, Transformer) or (decoder := transformer.decoder) is None:
        return
    for operation in decode_operations(decoder, transformer):
        yield from _kernel_speed(operation, decoder.choice[operation.name], 1)
    if isinstance(decoder.several, SeveralRows):
        for rows in _SEVERAL:
            chosen = decoder.several(rows)
            for name, operation in decoder.several.operations(rows).items():
                yield from _kernel_speed(operation, chosen.get(name), rows)


def _kernel_speed(operation: Operation, variant: Variant | None, rows: int) -> Iterator[KernelSpeed]:
    if variant is not None:
        seconds = seconds_per_run(operation, [variant, None], cold_arguments(operation))
        ours, portable = seconds[variant], seconds[None]
        yield KernelSpeed(operation.name, 1e6 * ours, operation.weight_bytes / ours / 1e9, 1e6 * portable, rows)


def bandwidth() -> Bandwidth:
    """Measures it: the best of a few runs."""
    source = mx.ones((_BANDWIDTH_BYTES // 4,), mx.float32)
    mx.eval(source)
    copy = read = 0.0
    for _ in range(_ROUNDS + 1):
        start = time.perf_counter()
        mx.eval(source + 1)
        copied = time.perf_counter()
        mx.eval(source.sum())
        copy = max(copy, 2 * _BANDWIDTH_BYTES / (copied - start) / 1e9)
        read = max(read, _BANDWIDTH_BYTES / (time.perf_counter() - copied) / 1e9)
    return Bandwidth(copy, read)


def launches(model: Model) -> dict[str, int]:
    """What a decoded token launches, by primitive, as MLX's graph of it has them; what is sampled is the largest logit.

    A primitive of several launches (a sort, say) counts as one. The embedding's row is among them.
    """
    transformer, cache, token = model.transformer, model.make_cache(), mx.array([[0]])
    mx.eval(transformer(mx.zeros((1, _TURN_TOKENS), mx.int32), cache, "none"), cache.present())
    mx.eval(transformer(token, cache, "last"), cache.present())
    graph = io.StringIO()
    mx.export_to_dot(graph, mx.argmax(transformer(token, cache, "last")), *cache.present())
    labels = re.findall(r'label ="([^" ]+)[^"]*", shape=rectangle', graph.getvalue())
    return dict(Counter(label for label in labels if label not in _VIEWS).most_common())
