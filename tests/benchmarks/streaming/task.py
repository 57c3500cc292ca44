"""What each engine is to compute, and how it is timed. Needs numpy alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

DECODE_S = 25.0
"""An engine that is slower than all its tokens are worth is stopped then."""


@dataclass(frozen=True)
class Task:
    """Ids below `vocabulary`: a `prompt` of so many, then `tokens` one at a time, drawn from `seed` and not chosen by
    the model, so that every engine meets the same and none repeats itself. `path` and `how` are the engine's own."""

    path: str
    how: dict[str, int]
    vocabulary: int
    prompt: int
    tokens: int
    seed: int = 0
    skewed: bool = False
    disk: float = 0.0


@dataclass
class Times:
    """Seconds of the prompt, and of each token behind it."""

    prompt_s: float = 0.0
    token_s: list[float] = field(default_factory=list)


def timed(task: Task, compute: Callable[[list[int]], object], prompt_done: Callable[[], None] = lambda: None) -> Times:
    """`compute` brings ids into the engine's cache, and ends when the logits behind them are known."""
    ids = np.random.default_rng(task.seed).integers(0, task.vocabulary, task.prompt + task.tokens).tolist()
    times, start = Times(), time.perf_counter()
    compute(ids[: task.prompt])
    times.prompt_s = time.perf_counter() - start
    prompt_done()
    for token in ids[task.prompt :]:
        begun = time.perf_counter()
        compute([token])
        times.token_s.append(time.perf_counter() - begun)
        if sum(times.token_s) > DECODE_S:
            break
    return times
