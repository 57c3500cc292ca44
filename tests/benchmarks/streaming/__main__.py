"""Experts read from the disk under a hard limit of memory, beside all of them in mapped files and beside llama.cpp.

    python -m tests.benchmarks.streaming [--model NAME] [--limits GB ...] [--rows NAME ...] [--disks GB/s ...]
        [--tokens N] [--prompt N]

The model has the sizes of gpt-oss-20b and random weights (13.8 GB, and as many again as GGUF; BENCH_DIR as in
tests/benchmarks/peers, whose llama.cpp it is, too). Each engine runs alone in a process of its own that can't get more
memory than the limit, page cache included: in a memory cgroup (as root). Files are dropped from the page cache first.

Random weights choose their experts evenly, which is the worst that a cache of experts can meet. So the model is also
run with routers that prefer some experts, as in the simulations from which the memory plan estimates (streaming.py:
Zipf with exponent 1), in another order in each layer.

The second table runs without a limit, from files in the page cache that are read as fast as a disk of so many GB/s
would give them: what a token takes then, beside what the plan's model says with the hit rate that was measured.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlx_model.memory.plan import plan
from mlx_model.memory.streaming import Speeds, streaming_s
from mlx_model.memory.wishes import Wishes
from tests.benchmarks.memory import Cgroup
from tests.benchmarks.peers.machine import description, forget, remember
from tests.benchmarks.peers.settings import Setting, Subject, settings, subject
from tests.benchmarks.streaming.ours import CONTEXT
from tests.benchmarks.streaming.task import Task
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS

ROWS = ("even", "uneven", "mapped-even", "mapped-uneven", "llama.cpp")
"""Of the first table, for each limit."""

LIMIT_S = 240.0
"""For a whole process: what hasn't answered by then hardly will."""


def run(command: Sequence[str], limit: int | None, environment: dict[str, str] | None = None) -> dict[str, Any] | None:
    """The figures of a process, None if it did not live to say them."""
    cgroup = None if limit is None else Cgroup(limit)
    try:
        found = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=None if cgroup is None else cgroup.enter,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    finally:
        if cgroup is not None:
            time.sleep(0.5)  # a process that was killed leaves its group a little later
            cgroup.remove()
    return None if found.returncode else json.loads(found.stdout.splitlines()[-1])


def measured(
    path: Path,
    model: Subject,
    limit: int | None,
    arguments: argparse.Namespace,
    setting: Setting | None = None,
    **more: Any,
) -> dict[str, Any] | None:
    """An engine's figures: this project's, or those of a `setting` of llama.cpp; `more` are fields of its task."""
    task = Task(str(path), more.pop("how", {}), model.vocabulary, arguments.prompt, arguments.tokens, **more)
    python, module = (sys.executable, "ours") if setting is None else (str(setting.python), "llama")
    command = [python, "-m", f"tests.benchmarks.streaming.{module}", json.dumps(asdict(task))]
    found = run(command, limit, None if setting is None else setting.environment)
    if found is None:
        return None
    return found | {"token_s": statistics.mean(found["token_s"]), "tokens": len(found["token_s"])}


def row(limit: int, name: str, found: dict[str, Any] | None) -> str:
    """A line of the first table."""
    if found is None:
        return f"| {limit / 1e9:.1f} | {name} | did not answer in {LIMIT_S:.0f} s, or at all | | | | | | |"
    cells = [f"{found['load_s']:.0f}", f"{found['prompt_s']:.1f}", f"{1 / found['token_s']:.2f}"]
    if (reads := found.get("reads")) is not None:
        each = found["tokens"]
        hits = 1 - reads["read"] / reads["asked"]
        cells += [f"{hits:.0%}", f"{reads['nbytes'] / each / 1e6:.0f}", f"{1e3 * reads['waited_s'] / each:.0f}"]
        total = found["plan"]
        cells.append(f"{found['peak'] / 1e9:.2f} / {total / 1e9:.2f} = {found['peak'] / total:.3f}")
    else:
        cells += ["", "", "", f"{found['peak'] / 1e9:.2f}"]
    return f"| {limit / 1e9:.1f} | {name} | {' | '.join(cells)} |"


def _llama() -> Setting | None:
    return next((each for each in settings(None) if each.setting == "mapped"), None)


def under_limits(model: Subject, arguments: argparse.Namespace) -> None:
    """The first table."""
    mapped = _llama() if "llama.cpp" in arguments.rows else None
    print("| GB | engine | load, s | prompt, s | tok/s | in memory | MB a token | wait, ms | own memory / plan, GB |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for limit in (int(gigabytes * 1e9) for gigabytes in arguments.limits):
        planned = plan(model.config, limit, Wishes(CONTEXT, streams=True), on_gpu=False)
        files = sorted(model.folder.glob("*.safetensors"))
        all_of = model.config.num_local_experts
        slots, whole = {"memory": limit}, {"experts": all_of, "dense_bits": planned.dense_bits}
        for name, title, how in (
            ("even", f"{planned.slots} of {all_of} experts", slots),
            ("uneven", f"{planned.slots} of {all_of} experts, uneven routing", slots),
            ("mapped-even", "all experts, mapped", whole),
            ("mapped-uneven", "all experts, mapped, uneven routing", whole),
        ):
            if name in arguments.rows:
                forget(files)
                found = measured(model.folder, model, limit, arguments, how=how, skewed=name.endswith("uneven"))
                print(row(limit, title, found), flush=True)
        if mapped is not None:
            forget([model.gguf])
            print(row(limit, mapped.name, measured(model.gguf, model, limit, arguments, mapped)), flush=True)
    print()


def with_disks(model: Subject, arguments: argparse.Namespace) -> None:
    """The second table: what is computed anyway is timed with all experts in memory, in the same run."""
    remember(sorted(model.folder.glob("*.safetensors")))
    experts, slots = model.config.num_local_experts, arguments.slots
    how = {"experts": experts - 1, "dense_bits": 4}
    whole = measured(model.folder, model, None, arguments, how=how, skewed=True)
    assert whole is not None
    split = plan(model.config, 10**13, Wishes(slots=slots), on_gpu=False).split
    print(f"{slots} of {experts} experts of each layer in memory, uneven routing\n")
    print("| disk, GB/s | in memory | a token, ms | estimated | ratio |\n|---:|---:|---:|---:|---:|")
    for disk in arguments.disks:
        how = {"experts": slots, "dense_bits": 4}
        found = measured(model.folder, model, None, arguments, how=how, skewed=True, disk=disk * 1e9)
        assert found is not None
        hits = 1 - found["reads"]["read"] / found["reads"]["asked"]
        computing = whole["token_s"] - whole["reads"]["waited_s"] / whole["tokens"]
        expected = computing + streaming_s(model.config, split, Speeds(disk=disk * 1e9, routing_s=0), hits)
        took = found["token_s"]
        print(f"| {disk} | {hits:.0%} | {1e3 * took:.0f} | {1e3 * expected:.0f} | {took / expected:.2f} |", flush=True)


def main() -> int:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.streaming")
    parser.add_argument("--model", choices=PRESETS, default="20b")
    parser.add_argument("--limits", type=float, nargs="*", default=[5.3, 8.0, 10.0], metavar="GB")
    parser.add_argument("--rows", choices=ROWS, nargs="+", default=ROWS, metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--disks", type=float, nargs="*", default=[0.5, 1.3, 2.5, 5.0], metavar="GB/s")
    parser.add_argument("--slots", type=int, default=13, metavar="N", help="experts in memory in the second table")
    parser.add_argument("--prompt", type=int, default=64, metavar="N", help="tokens")
    parser.add_argument("--tokens", type=int, default=24, metavar="N", help="to decode")
    arguments = parser.parse_args()
    wants_gguf = bool(arguments.limits) and "llama.cpp" in arguments.rows and _llama() is not None
    model = subject(arguments.model, with_gguf=wants_gguf)
    print(f"{description()}; a prompt of {arguments.prompt} tokens, {arguments.tokens} decoded\n")
    if arguments.limits:
        under_limits(model, arguments)
    if arguments.disks:
        with_disks(model, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
