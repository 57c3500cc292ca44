"""Holds a full-size model to a memory plan by force, and prints the peak beside the plan.

    python -m tests.benchmarks.memory [--checkpoint DIR] [--memory SIZE] [--context N] [--peer-python PYTHON]

The checkpoint has the sizes of gpt-oss-20b and random weights (13.8 GB, written once into BENCH_DIR, by default
gptoss-bench in the temporary folder). The budget is by default what Metal recommends on a Mac with 16 GB: 2/3 of it.
The model runs in a process of its own that can't get more: in a memory cgroup where this machine lets one be made (as
root), else under RLIMIT_DATA. It loads, its cache is filled up to the planned context less a few chunks (with random
keys and values, since computing those of 8,192 tokens would take an hour on two cores), and it computes the rest of the
prompt and an answer. The same is then asked of mlx-lm, without the limit, which it could not keep.

The second table is about the embedding: rows read from the file against the matrix in memory, in one process, rounds
taking turns, on two layers of the same widths.
"""

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from mlx_model.cpu.cache import CompiledCache
from mlx_model.generation.runner import Runner
from mlx_model.memory.plan import MemoryPlan, plan
from mlx_model.memory.sizes import parse_memory
from mlx_model.memory.wishes import Wishes
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.transformer.config import ModelConfig
from mlx_model.transformer.embedding import Embedding
from mlx_model.weights.checkpoint import stored_tensors
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS, write_checkpoint
from tests.fixtures.filled_cache import fill
from tests.fixtures.mlx_layout import read_tensors

A_16_GB_MAC = 16 * 2**30 * 2 // 3
ANSWER = 8  # tokens
PEER = (4, 2)  # tokens of prompt and answer: mlx-lm takes ten seconds for each as it comes
FILL = 512  # tokens put into the cache at once
EMBEDDING_NAME = "model.embed_tokens.weight"


# ------------------------------------------------------------------------------- in the process with the limit


def status(field: str) -> int:
    """Bytes that Linux states of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def ours(checkpoint: Path, memory: int, context: int) -> dict[str, Any]:
    """Load by the plan, fill the cache, answer; the figures of it."""
    before = status("VmRSS")
    model = load(checkpoint, memory=memory, context=context)
    loaded = status("VmHWM")
    runner = Runner(model)
    prefix = runner.scheduler.prefixes.take(())
    cache = prefix.cache
    assert isinstance(cache, CompiledCache)
    chunk = model.plan.prefill_chunk
    prompt = [index % 1000 for index in range(context - ANSWER)]
    filled = len(prompt) - 2 * chunk
    cache.mark(range(FILL, filled, FILL // 2))
    for start in range(0, filled, FILL):
        fill(cache, min(FILL, filled - start))
    prefix.ids += prompt[:filled]
    tokens = list(runner.run(prompt, Options(temperature=0, max_tokens=ANSWER)))
    return {
        "program": before,
        "loaded": loaded,
        "peak": status("VmHWM"),
        "load_s": model.load_s,
        "computed": runner.stats.prefill_tokens,
        "tokens": sum(isinstance(token, int) for token in tokens),
        "prefill_tok_s": runner.stats.prefill_tok_s,
        "decode_tok_s": runner.stats.decode_tok_s,
    }


def mlx_lm(checkpoint: Path, context: int) -> dict[str, Any]:
    """The same of mlx-lm as it comes."""
    from mlx_lm.generate import generate_step
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load_model

    before, start = status("VmRSS"), time.perf_counter()
    model, config = load_model(checkpoint)
    load_s, loaded = time.perf_counter() - start, status("VmHWM")
    caches = make_prompt_cache(model)
    filled = context - sum(PEER)
    for start_of_chunk in range(0, filled, FILL):
        count = min(FILL, filled - start_of_chunk)
        for cache in caches:
            shape = (1, config["num_key_value_heads"], count, config["head_dim"])
            keys, values = (mx.random.normal(shape).astype(mx.bfloat16) for _ in range(2))
            mx.eval(cache.update_and_fetch(keys, values))
    prompt = mx.array([index % 1000 for index in range(PEER[0])])
    tokens = list(generate_step(prompt, model, max_tokens=PEER[1], prompt_cache=caches))
    return {
        "program": before,
        "loaded": loaded,
        "peak": status("VmHWM"),
        "load_s": load_s,
        "computed": PEER[0],
        "tokens": len(tokens),
    }


# ------------------------------------------------------------------------------------- the limit, and its parent


class Cgroup:
    """A memory cgroup of one's own (version 1 or 2), removed at the end. Raises OSError where none can be made."""

    def __init__(self, nbytes: int) -> None:
        first = Path("/sys/fs/cgroup/memory")
        self.version = 1 if first.is_dir() else 2
        self.folder = (first if self.version == 1 else first.parent) / f"gptoss-bench-{os.getpid()}"
        self.folder.mkdir()
        try:
            names = ["memory.limit_in_bytes"] if self.version == 1 else ["memory.max", "memory.swap.max"]
            for name, value in zip(names, (nbytes, 0), strict=False):
                (self.folder / name).write_text(str(value))
        except OSError:
            self.remove()
            raise

    def enter(self) -> None:
        """Move this process into it."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        """Undo it; the processes must have ended."""
        self.folder.rmdir()


def run(arguments: list[str], python: str, limit: int | None) -> tuple[dict[str, Any] | None, str]:
    """The figures of a child process, None if it did not survive, and what held it to `limit` bytes."""
    cgroup, enter, how = None, None, "no limit"
    if limit is not None:
        try:
            cgroup = Cgroup(limit)
            enter, how = cgroup.enter, f"a memory cgroup (version {cgroup.version})"
        except OSError:
            enter, how = (lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))), "RLIMIT_DATA"
    command = [python, "-m", "tests.benchmarks.memory", *arguments]
    try:
        found = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, preexec_fn=enter, check=False)
    finally:
        if cgroup is not None:
            cgroup.remove()
    if found.returncode:
        print(f"{' '.join(command)} ended with {found.returncode}", file=sys.stderr)
        return None, how
    return json.loads(found.stdout.splitlines()[-1]), how


def _gb(nbytes: int) -> str:
    """In powers of ten, as the tables of BENCHMARKS.md."""
    return f"{nbytes / 1e9:.2f} GB"


def print_plan(planned: MemoryPlan) -> None:
    """The plan, line by line."""
    print(f"Plan for {_gb(planned.budget)} and a context of {planned.context:,} tokens, on the CPU:\n")
    for reason in planned.reasons:
        print(f"- {reason}")
    parts = {name: getattr(planned, name) for name in ("weights", "kv", "working", "program", "total")}
    print("\n" + ", ".join(f"{name} {_gb(size)}" for name, size in parts.items()) + "\n", flush=True)


def full_size(checkpoint: Path, memory: int, context: int, peer_python: str) -> None:
    """The first table."""
    planned = plan(ModelConfig.load(checkpoint), memory, Wishes(context), on_gpu=False)
    print_plan(planned)
    common = ["--checkpoint", str(checkpoint), "--memory", str(memory), "--context", str(context)]
    print("| engine | held by | loading, GB | peak, GB | planned, GB | peak / planned | load, s | tokens |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for name, python, limit in (("gptoss-chat", sys.executable, memory), ("mlx-lm", peer_python, None)):
        found, how = run(["--child", name, *common], python, limit)
        if found is None:
            print(f"| {name} | {how} | did not survive | | | | | |", flush=True)
            continue
        beside = (f"{planned.total / 1e9:.3f}", f"{found['peak'] / planned.total:.3f}") if limit else ("", "")
        print(
            f"| {name} | {how} | {found['loaded'] / 1e9:.3f} | {found['peak'] / 1e9:.3f} | {beside[0]} | {beside[1]} "
            f"| {found['load_s']:.0f} | {found['computed']} + {found['tokens']} |",
            flush=True,
        )


# ------------------------------------------------------------------------------------------------- the embedding


@dataclass
class Resident:
    """Rows of a matrix in memory: what the embedding is without embedding.py."""

    table: mx.array
    mapped_bytes: int = 0

    def __call__(self, ids: mx.array) -> mx.array:
        return self.table[ids]


def speeds(model: Model, tokens: int) -> tuple[float, float]:
    """Prefill and decode, tokens a second."""
    runner = Runner(model)
    list(runner.run([index % 1000 for index in range(tokens)], Options(temperature=0, max_tokens=tokens // 4)))
    return runner.stats.prefill_tok_s, runner.stats.decode_tok_s


def embedding(checkpoint: Path, rounds: int) -> None:
    """The second table."""
    model = load(checkpoint, dense_bits=16)
    from_file = model.transformer.embedding
    before = status("VmRSS")
    stored = stored_tensors(checkpoint)[EMBEDDING_NAME]
    table = read_tensors(stored.file)[EMBEDDING_NAME]
    mx.eval(table)
    gc.collect()
    held = status("VmRSS") - before
    resident = Embedding((Resident(table),), model.transformer.compute.dtype)
    runs: dict[str, list[tuple[float, float]]] = {"read from the file": [], "in memory": []}
    speeds(model, 16)
    for _ in range(rounds):
        for name, way in zip(runs, (from_file, resident), strict=True):
            model.transformer.embedding = way  # type: ignore[misc]  # a model over several computers has none
            runs[name].append(speeds(model, 64))
    medians = {
        name: [statistics.median(column) for column in zip(*several, strict=True)] for name, several in runs.items()
    }
    print("\n| embedding | resident, MB | prefill, tok/s | decode, tok/s |\n|---|---:|---:|---:|")
    for name, nbytes in (("read from the file", 0), ("in memory", held)):
        prefill, decode = medians[name]
        print(f"| {name} | {nbytes / 1e6:.1f} | {prefill:.2f} | {decode:.2f} |")
    ratios = " | ".join(f"{mine / theirs:.2f}" for mine, theirs in zip(*medians.values(), strict=True))
    print(f"| *ratio* | | {ratios} |")


def main() -> None:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory")
    folder = Path(os.environ.get("BENCH_DIR") or Path(tempfile.gettempdir()) / "gptoss-bench")
    parser.add_argument("--checkpoint", type=Path, default=folder, metavar="DIR")
    parser.add_argument("--memory", type=parse_memory, default=A_16_GB_MAC, metavar="SIZE")
    parser.add_argument("--context", type=int, default=8192, metavar="N")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON", help="one that has mlx-lm")
    parser.add_argument("--two-layer", type=Path, default=folder / "two-layer", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5, help="of the second table; 0 leaves it out")
    parser.add_argument("--child", choices=["gptoss-chat", "mlx-lm"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    mx.set_default_device(mx.cpu)
    if arguments.child == "gptoss-chat":
        print(json.dumps(ours(arguments.checkpoint, arguments.memory, arguments.context)), flush=True)
        return
    if arguments.child == "mlx-lm":
        print(json.dumps(mlx_lm(arguments.checkpoint, arguments.context)), flush=True)
        return
    for path, preset in ((arguments.checkpoint, "20b"), (arguments.two_layer, "two-layer")):
        if not (path / "config.json").is_file():
            print(f"Writing the {preset} checkpoint into {path}", file=sys.stderr)
            write_checkpoint(path, PRESETS[preset]())
    full_size(arguments.checkpoint, arguments.memory, arguments.context, arguments.peer_python)
    if arguments.rounds:
        embedding(arguments.two_layer, arguments.rounds)


if __name__ == "__main__":
    main()
