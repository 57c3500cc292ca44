"""Answers that are computed together, beside the same one after the other (`make bench-rows`).

    python -m tests.benchmarks.rows [--model NAME] [--rows 1 2 4 8] [--tokens N] [--rounds N] [--only NAME ...]

For each number of rows: tokens a second of all of them, and how many times those of one answer alone, which are what
the same answers get one after the other; before each number of rows one answer is timed. This project's rows go through
its scheduler; llama.cpp (as its batched bench and its parallel server compute) and mlx-lm (its batch_generate's
generator) get the same prompts. Each engine is a process of its own; rounds alternate between them. Models, weights and
engines are those of `make bench-peers`; see `python -m tests.benchmarks.peers --help` for OpenBLAS.

Then the bytes of weights that a step reads. Modelled is the number of different experts where each row draws its own
uniformly; counted are those that the router chose in a step of this project, each of which is read once.
"""

import argparse
import ctypes.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from statistics import mean, median
from typing import Any
from unittest.mock import patch

import mlx.core as mx
import numpy as np

from metal import portable
from mlx_model import Model, load
from mlx_model.memory.sizes import memory_size
from tests.benchmarks.peers.machine import description, read_bandwidth, remember
from tests.benchmarks.peers.rows import RowsFigures, RowsTask, prompts_for, speed
from tests.benchmarks.peers.settings import Setting, Subject, missing, settings, subject
from tests.benchmarks.peers.tables import table
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS

FEWER = {"mlx_lm": 2}
"""Tokens of each prompt, and steps that are timed, by an engine whose step takes seconds on a CPU."""


def run(setting: Setting, model: Subject, rows: Sequence[int], tokens: int) -> RowsFigures:
    """One process. Exits if it fails."""
    path = str(model.path(setting))
    task = RowsTask(setting.engine, setting.setting, path, model.vocabulary, tuple(rows), tokens)
    if model.name == "20b" and sys.platform != "darwin" and (fewer := FEWER.get(setting.engine)):
        task = replace(task, tokens=fewer, prompt=fewer)
    command = [str(setting.python), "-m", "tests.benchmarks.peers.rows", json.dumps(asdict(task))]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | setting.environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{setting.name} failed with exit code {done.returncode}")
    figures = json.loads(done.stdout.splitlines()[-1])
    for part in ("together", "alone"):
        figures[part] = {int(number): times for number, times in figures[part].items()}
    return RowsFigures(**figures)


@contextmanager
def routed(model: Model) -> Iterator[list[int]]:
    """How many different experts each layer reads, layer by layer, where one thread computes."""
    seen: list[int] = []
    if model.plan.is_compiled:
        from mlx_model.cpu.layer import layer

        def counted(*arguments: Any) -> None:
            layer(*arguments)
            _, part, *_, room = arguments[:6]
            if part == 0:  # a thread may still be in the step before
                seen.append(int(np.count_nonzero(np.diff(room.starts[0]))))

        where = "mlx_model.cpu.transformer"
        with patch(f"{where}.layer", counted), patch(f"{where}._WORTH_THREADS", 1 << 60):
            yield seen
        return
    best = portable.best

    def noted(logits: mx.array, top_k: int) -> tuple[mx.array, mx.array]:
        chosen, weights = best(logits, top_k)
        seen.append(len({*np.array(chosen).ravel().tolist()}))
        return chosen, weights

    with patch("mlx_model.transformer.blocks.best", noted):
        yield seen


def experts_read(model: Model, rows: int) -> float:
    """Of a layer in a decode step of so many rows, on average."""
    caches = []
    for prompt in prompts_for(rows, model.config.vocab_size):
        caches.append(model.make_cache())
        mx.eval(model.transformer(mx.array([prompt]), caches[-1], "none"))
    with routed(model) as seen:
        mx.eval(model.transformer(mx.array([[*range(rows)]]), caches, "all"))
    return mean(seen)


def modelled(model: Model, rows: int) -> float:
    """The same where each row draws its experts uniformly."""
    experts, top_k = model.config.num_local_experts, model.config.num_experts_per_tok
    return experts * (1 - (1 - top_k / experts) ** rows)


def step_bytes(model: Model, experts: float) -> int:
    """Of weights in a step whose rows meet so many experts a layer; the dense part is read once."""
    held, top = model.plan, model.config
    return int(held.dense + held.experts * experts / top.num_local_experts)


def bytes_table(model: Model, rows: Sequence[int]) -> str:
    """Modelled beside counted."""
    lines = []
    for number in rows:
        pair = (modelled(model, number), experts_read(model, number))
        sizes = [memory_size(step_bytes(model, each)) for each in pair]
        lines.append([str(number), *(f"{each:.1f}" for each in pair), *sizes])
    heads = ["rows", "experts a layer, modelled", "counted", "bytes a step, modelled", "counted"]
    return table(heads, lines)


def speeds_table(found: dict[str, list[RowsFigures]], rows: Sequence[int]) -> str:
    """Tokens a second of all rows, and how many times one answer after the other: medians of the rounds."""

    def cell(runs: Sequence[RowsFigures], number: int) -> str:
        pairs = [(speed(run.together[number], number), speed(run.alone[number], 1)) for run in runs]
        ratio = median(together / alone for together, alone in pairs)
        return f"{median(together for together, _ in pairs):.2f} ({ratio:.2f}x)"

    def ratio(ours: Sequence[RowsFigures], theirs: Sequence[RowsFigures], number: int) -> str:
        medians = [median(speed(run.together[number], number) for run in runs) for runs in (ours, theirs)]
        return f"{medians[0] / medians[1]:.2f}"

    lines = [[name, *(cell(runs, number) for number in rows), str(len(runs))] for name, runs in found.items()]
    (mine, ours), *peers = found.items()
    lines += [[f"*{mine} / {name}*", *(ratio(ours, runs, number) for number in rows), ""] for name, runs in peers]
    return table(["engine", *(f"{number} rows" for number in rows), "rounds"], lines)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.rows")
    parser.add_argument("--model", choices=["demo", *PRESETS], default="20b", metavar="NAME")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--tokens", type=int, default=16, help="of each answer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="engines whose name begins with one of these")
    parser.add_argument("--openblas", default=ctypes.util.find_library("openblas"), metavar="LIBRARY")
    arguments = parser.parse_args()
    everyone = list(settings(arguments.openblas))
    # Of each engine its fastest setting with the weights as they are.
    names = {"ours": "16", "llama_cpp": "repacked", "mlx_lm": "stored" if sys.platform == "darwin" else "float32"}
    chosen = [each for each in everyone if names[each.engine] == each.setting]
    if arguments.only:
        chosen = [each for each in chosen if any(each.name.startswith(start) for start in arguments.only)]
    elif absent := missing(everyone, arguments.openblas):
        print(absent, file=sys.stderr)
    if not chosen:
        parser.error(f"no engine's name begins with {' or '.join(arguments.only)}")
    model = subject(arguments.model, with_gguf=any(setting.wants_gguf for setting in chosen))
    found: dict[str, list[RowsFigures]] = {}
    bandwidths = []
    for number in range(arguments.rounds):
        for setting in chosen:
            if setting.rounds is not None and number >= setting.rounds:
                continue
            remember(model.files(setting))
            bandwidths.append(read_bandwidth())
            figures = run(setting, model, arguments.rows, arguments.tokens)
            found.setdefault(setting.name, []).append(figures)
            speeds = ", ".join(f"{rows}: {speed(times, rows):.2f}" for rows, times in figures.together.items())
            print(f"round {number + 1}, {setting.name}: tok/s of rows {speeds}", file=sys.stderr)
    print(f"**{model.name}**, {description()}; read at {max(bandwidths) / 1e9:.1f} GB/s at best.\n")
    print("Tokens a second of all rows, and how many times one answer after the other:\n")
    print(speeds_table(found, arguments.rows), end="\n\n")
    print("Weights that a step reads:\n")
    print(bytes_table(load(model.folder, dense_bits=16), arguments.rows), flush=True)


if __name__ == "__main__":
    main()
