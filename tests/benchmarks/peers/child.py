"""The process of one engine: loads a model, measures, prints one JSON object; __main__ starts it.

Uses nothing but numpy beside the engine, so that an environment that has only a peer can run it.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tests.benchmarks.peers.engines import Engine, loader
from tests.benchmarks.peers.machine import Spell, peak, proportional, resident

ENOUGH_S = 1.0
"""A prompt is computed again until so much time was measured, or `MOST_TIMES`."""
MOST_TIMES = 40
CONTEXT = 128
"""Tokens after which decoding is timed; after fewer where no prompt as long was computed."""
DECODE_S = 2.0
"""Decoding goes on for so long, if that is more than the tokens asked for, up to `MOST_TOKENS`."""
MOST_TOKENS = 400


@dataclass(frozen=True)
class Task:
    """What to measure. Ids are drawn below `vocabulary`; `begun` is the time.time() at which the process was started.

    A prompt that would take longer than what is left of `limit_s` is left out, unless it is the first. Without prompts
    there is only loading and a first token.
    """

    engine: str
    setting: str
    path: str
    vocabulary: int
    prompts: tuple[int, ...]
    tokens: int
    limit_s: float
    begun: float


@dataclass
class Figures:
    """What came of it. Times in seconds, memory in bytes, shares of the whole machine's CPU time."""

    about: str
    load_s: float
    first_s: float
    """From the start of the process to the first token of a prompt of one token."""
    prefill_s: dict[int, float] = field(default_factory=dict)
    context: int = 0
    """Tokens after which decoding was timed."""
    token_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    """What was decoded, greedily: the same of every engine that computes the same."""
    prefill_shares: tuple[float, float] = (0.0, 0.0)
    """Of this process, and of everything else."""
    decode_shares: tuple[float, float] = (0.0, 0.0)
    peak: int = 0
    """In memory at most, of its own and of files."""
    anonymous: int | None = None
    """In memory when all was done, of its own; as `file`, pages of files, and `proportional`, both."""
    file: int | None = None
    proportional: int | None = None


def measure(task: Task) -> Figures:
    """Loads and measures, in the order of Figures."""
    start = time.perf_counter()
    engine = loader(task.engine)(Path(task.path), task.setting)
    load_s = time.perf_counter() - start
    next(engine.answer(_ids(task, 1), 1))
    figures = Figures(engine.about, load_s, time.time() - task.begun)
    if task.prompts:
        _speeds(engine, task, figures)
    figures.peak = peak()
    if (memory := resident(os.getpid())) is not None:
        figures.anonymous, figures.file = memory
        figures.proportional = proportional(os.getpid())
    return figures


def _speeds(engine: Engine, task: Task, figures: Figures) -> None:
    begun = time.perf_counter()
    lengths = sorted(task.prompts)
    prefill, decode = Spell(), Spell()
    for length, following in zip(lengths, [*lengths[1:], 0], strict=True):
        prefill.start()
        figures.prefill_s[length], answer = _prefill(engine, task, length)
        prefill.stop()
        left = task.limit_s - (time.perf_counter() - begun)
        is_last = not following or figures.prefill_s[length] / length * following > left
        if not figures.token_s and (is_last or following > CONTEXT):
            figures.context = length
            decode.start()
            _decode(answer, task, figures)
            decode.stop()
        if is_last:
            break
    figures.prefill_shares, figures.decode_shares = prefill.shares(), decode.shares()


def _prefill(engine: Engine, task: Task, length: int) -> tuple[float, Iterator[int]]:
    """Seconds until the first token, and the answer from its second one on."""
    times: list[float] = []
    while not times or (sum(times) < ENOUGH_S and len(times) < MOST_TIMES):
        begun = time.perf_counter()
        answer = engine.answer(_ids(task, length), MOST_TOKENS)
        next(answer)
        times.append(time.perf_counter() - begun)
    return statistics.median(times), answer


def _decode(answer: Iterator[int], task: Task, figures: Figures) -> None:
    """Times the tokens of an answer."""
    begun = last = time.perf_counter()
    for token in answer:
        now = time.perf_counter()
        figures.tokens.append(token)
        figures.token_s.append(now - last)
        last = now
        if now - begun > task.limit_s or (len(figures.token_s) >= task.tokens and now - begun > DECODE_S):
            break


def _ids(task: Task, length: int) -> list[int]:
    """The same for every engine."""
    drawn: list[int] = np.random.default_rng(length).integers(0, task.vocabulary, length).tolist()
    return drawn


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Task(**json.loads(sys.argv[1]))))), flush=True)
    # A preloaded OpenBLAS (seen with 0.3.21) can wait for its own threads for ever in its exit handler.
    os._exit(0)
