"""The process of one engine that answers several prompts at once; tests/benchmarks/rows.py starts it.

Uses nothing but numpy beside the engine, so that an environment that has only a peer can run it.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.peers.engines import Engine, loader


@dataclass(frozen=True)
class RowsTask:
    """What to measure: for each of `rows` so many answers at once, by `tokens` steps that have a token for each.

    Ids are below `vocabulary`; each prompt has `prompt` of them.
    """

    engine: str
    setting: str
    path: str
    vocabulary: int
    rows: tuple[int, ...]
    tokens: int
    prompt: int = 16


@dataclass
class RowsFigures:
    """Seconds of each step of so many rows, and before it of one row alone."""

    about: str
    together: dict[int, list[float]]
    alone: dict[int, list[float]]


def measure(task: RowsTask) -> RowsFigures:
    """Loads; then for each number of rows first one answer alone, then so many."""
    engine = loader(task.engine)(Path(task.path), task.setting)
    figures = RowsFigures(engine.about, {}, {})
    for rows in task.rows:
        figures.alone[rows] = step_seconds(engine, task, 1)
        figures.together[rows] = step_seconds(engine, task, rows) if rows > 1 else figures.alone[rows]
    return figures


def step_seconds(engine: Engine, task: RowsTask, rows: int) -> list[float]:
    """Of the first `tokens` steps that had a token for every row; rows may begin one after the other."""
    prompts = prompts_for(rows, task.vocabulary, task.prompt)
    counts, times, last = [0] * rows, list[float](), 0.0
    for answered in engine.answers(prompts, task.tokens + rows):
        now = time.perf_counter()
        if min(counts) > 0 and len(answered) == rows:
            times.append(now - last)
            if len(times) == task.tokens:
                break
        for row in answered:
            counts[row] += 1
        last = now
    return times


def prompts_for(rows: int, vocabulary: int, tokens: int = RowsTask.prompt) -> list[list[int]]:
    """The same for every engine that gets as many tokens."""
    return [np.random.default_rng(row).integers(0, vocabulary, tokens).tolist() for row in range(rows)]


def speed(times: Sequence[float], rows: int) -> float:
    """Tokens a second of all rows, by the median step."""
    return rows / statistics.median(times)


if __name__ == "__main__":
    task = json.loads(sys.argv[1])
    print(json.dumps(asdict(measure(RowsTask(**task | {"rows": tuple(task["rows"])})))), flush=True)
    os._exit(0)  # see child.py
