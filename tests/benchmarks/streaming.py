"""Experts read from the disk under a hard limit of memory, beside all of them in mapped files and beside llama.cpp.

    python -m tests.benchmarks.streaming [--model NAME] [--limits GB ...] [--disks GB/s ...] [--tokens N] [--prompt N]

The model has the sizes of gpt-oss-20b and random weights (13.8 GB, and as many again as GGUF; BENCH_DIR as in
tests/benchmarks/peers, whose llama.cpp it is, too). Each engine runs alone in a process of its own that can't get more
memory than the limit, page cache included: in a memory cgroup (as root). Files are dropped from the page cache first.

Random weights choose their experts evenly, which is the worst that a cache of experts can meet. So the model is also
run with routers that prefer some experts, as in the simulations from which the memory plan foretells (streaming.py:
Zipf with exponent 1), in another order in each layer.

The second table runs without a limit, from files in the page cache that are read as fast as a disk of so many GB/s
would give them: what a token takes then, beside what the plan's model says with the hit rate that was measured.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from app.cli.speed import endless
from mlx_model import Options, load
from mlx_model.cpu.kernels.formats import Floats
from mlx_model.cpu.transformer import CompiledTransformer
from mlx_model.generation.runner import Runner
from mlx_model.memory.plan import Wishes, plan
from mlx_model.memory.streaming import Speeds, streaming_s
from mlx_model.model import Model
from mlx_model.weights.experts_on_disk import ExpertFile
from tests.benchmarks.memory import Cgroup
from tests.benchmarks.peers.child import Task
from tests.benchmarks.peers.machine import description, forget, remember, resident
from tests.benchmarks.peers.settings import Setting, Subject, settings, subject
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS

CONTEXT = 1024
DECODE_S = 20.0
"""An engine that is slower than its tokens are worth is stopped then."""
LIMIT_S = 240.0
"""For a whole process: what hasn't answered by then hardly will."""
SKEW = 2.4
"""What a factor of e in popularity adds to a router's logit, whose own deviation is about 1.5 here."""


# ------------------------------------------------------------------------------------------- in a process of its own


def answer(folder: str, how: dict[str, Any], prompt: int, tokens: int, skewed: bool, disk: float) -> dict[str, Any]:
    """Loads and answers; the figures of it. Experts are read at `disk` bytes a second, unless that is 0."""
    if disk:
        _slow_down(disk)
    model = endless(load(folder, context=CONTEXT, **how))
    if skewed:
        _prefer_some_experts(model)
    transformer = model.transformer
    ids = np.random.default_rng(prompt).integers(0, min(model.config.vocab_size, 199_998), prompt).tolist()
    most, times, before = [0], list[float](), None
    start = time.perf_counter()
    for item in Runner(model).run(ids, Options(temperature=0, max_tokens=tokens + 1)):
        memory = resident(os.getpid())
        most.append(memory[0] if memory is not None else 0)
        if isinstance(item, int):
            times.append(time.perf_counter() - start)
            if before is None and transformer.streaming is not None:
                before = transformer.streaming.reads.copy()
            if times[-1] - times[0] > DECODE_S:
                break
    reads = None
    if transformer.streaming is not None and before is not None:
        reads = asdict(transformer.streaming.reads.since(before))
    return {
        "load_s": model.load_s,
        "prefill_s": times[0],
        "token_s": (times[-1] - times[0]) / max(1, len(times) - 1),
        "tokens": len(times) - 1,
        "reads": reads,
        "peak": max(most),
        "plan": asdict(model.plan) | {"total": model.plan.total},
    }


def _prefer_some_experts(model: Model) -> None:
    """Adds to the routers' biases what makes the choice of experts as uneven as the simulations' is."""
    transformer = model.transformer
    assert isinstance(transformer, CompiledTransformer)
    for index, layer in enumerate(transformer.layers):
        ranks = np.random.default_rng(index).permutation(len(layer.router.bias)) + 1
        bias = (layer.router.bias - SKEW * np.log(ranks)).astype(np.float32)
        bias.flags.writeable = False
        transformer.layers[index] = layer._replace(router=Floats(layer.router.weight, bias))


def _slow_down(disk: float) -> None:
    """From here on all reads of experts together take as long as a disk of this speed takes for them."""
    read, lock, free_at = ExpertFile.read, threading.Lock(), 0.0

    def slowly(self: ExpertFile, into: memoryview, offset: int) -> None:
        nonlocal free_at
        with lock:
            free_at = max(free_at, time.perf_counter()) + len(into) / disk
            due = free_at
        read(self, into, offset)
        time.sleep(max(0.0, due - time.perf_counter()))

    ExpertFile.read = slowly  # type: ignore[method-assign]


# ----------------------------------------------------------------------------------------------------- its parent


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


def ours(model: Subject, limit: int | None, arguments: argparse.Namespace, how: dict[str, Any], **more: Any) -> Any:
    """This project; `how` are arguments of `load`."""
    task = {"folder": str(model.folder), "how": how, "prompt": arguments.prompt, "tokens": arguments.tokens}
    command = [sys.executable, "-m", "tests.benchmarks.streaming", "--child"]
    return run([*command, json.dumps(task | {"skewed": False, "disk": 0.0} | more)], limit)


def llama(model: Subject, setting: Setting, limit: int, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """llama.cpp, whose file is mapped."""
    prompts = (arguments.prompt,)
    task = Task(setting.engine, setting.setting, str(model.gguf), model.vocabulary, prompts, 4, DECODE_S, time.time())
    command = [str(setting.python), "-m", "tests.benchmarks.peers.child", json.dumps(asdict(task))]
    found = run(command, limit, setting.environment)
    if found is None or not found["token_s"]:
        return None
    return {
        "load_s": found["load_s"],
        "prefill_s": found["prefill_s"][str(arguments.prompt)],
        "token_s": float(np.mean(found["token_s"])),
        "peak": found["anonymous"] or 0,
    }


def row(limit: int, name: str, found: dict[str, Any] | None) -> str:
    """A line of the first table."""
    if found is None:
        return f"| {limit / 1e9:.1f} | {name} | did not answer in {LIMIT_S:.0f} s, or at all | | | | | | |"
    cells = [f"{found['load_s']:.0f}", f"{found['prefill_s']:.1f}", f"{1 / found['token_s']:.2f}"]
    if (reads := found.get("reads")) is not None:
        each = found["tokens"]
        hits = 1 - reads["read"] / reads["asked"]
        cells += [f"{hits:.0%}", f"{reads['nbytes'] / each / 1e6:.0f}", f"{1e3 * reads['waited_s'] / each:.0f}"]
        total = found["plan"]["total"]
        cells.append(f"{found['peak'] / 1e9:.2f} / {total / 1e9:.2f} = {found['peak'] / total:.3f}")
    else:
        cells += ["", "", "", f"{found['peak'] / 1e9:.2f}"]
    return f"| {limit / 1e9:.1f} | {name} | {' | '.join(cells)} |"


def under_limits(model: Subject, arguments: argparse.Namespace) -> None:
    """The first table."""
    mapped = next((each for each in settings(None) if each.setting == "mapped"), None)
    print("| GB | engine | load, s | prompt, s | tok/s | in memory | MB a token | wait, ms | own memory / plan, GB |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|")
    for limit in (int(gigabytes * 1e9) for gigabytes in arguments.limits):
        foretold = plan(model.config, limit, Wishes(CONTEXT, streams=True), on_gpu=False)
        files = sorted(model.folder.glob("*.safetensors"))
        bits, all_of = foretold.dense_bits, model.config.num_local_experts
        whole = {"experts": all_of, "dense_bits": bits}
        for name, how, skewed in (
            (f"{foretold.slots} of {all_of} experts", {"memory": limit}, False),
            ("the same, uneven routing", {"memory": limit}, True),
            ("all experts, mapped", whole, False),
        ):
            forget(files)
            print(row(limit, name, ours(model, limit, arguments, how, skewed=skewed)), flush=True)
        if mapped is not None:
            forget([model.gguf])
            print(row(limit, mapped.name, llama(model, mapped, limit, arguments)), flush=True)
    print()


def with_disks(model: Subject, arguments: argparse.Namespace) -> None:
    """The second table: what is computed anyway is timed with all experts in memory, in the same run."""
    remember(sorted(model.folder.glob("*.safetensors")))
    experts, slots = model.config.num_local_experts, arguments.slots
    whole = ours(model, None, arguments, {"experts": experts - 1, "dense_bits": 4}, skewed=True)
    split = plan(model.config, 10**13, Wishes(slots=slots), on_gpu=False).split
    print(f"{slots} of {experts} experts of each layer in memory, uneven routing\n")
    print("| disk, GB/s | in memory | a token, ms | foretold | ratio |\n|---:|---:|---:|---:|---:|")
    for disk in arguments.disks:
        found = ours(model, None, arguments, {"experts": slots, "dense_bits": 4}, skewed=True, disk=disk * 1e9)
        hits = 1 - found["reads"]["read"] / found["reads"]["asked"]
        computing = whole["token_s"] - whole["reads"]["waited_s"] / whole["tokens"]
        expected = computing + streaming_s(model.config, split, Speeds(disk=disk * 1e9, routing_s=0), hits)
        took = found["token_s"]
        print(f"| {disk} | {hits:.0%} | {1e3 * took:.0f} | {1e3 * expected:.0f} | {took / expected:.2f} |", flush=True)


def main() -> int:
    """The command; see the module's docstring."""
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(answer(**json.loads(sys.argv[2]))), flush=True)
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.streaming")
    parser.add_argument("--model", choices=PRESETS, default="20b")
    parser.add_argument("--limits", type=float, nargs="*", default=[5.3, 8.0, 10.0], metavar="GB")
    parser.add_argument("--disks", type=float, nargs="*", default=[0.5, 1.3, 2.5, 5.0], metavar="GB/s")
    parser.add_argument("--slots", type=int, default=13, metavar="N", help="experts in memory in the second table")
    parser.add_argument("--prompt", type=int, default=64, metavar="N", help="tokens")
    parser.add_argument("--tokens", type=int, default=24, metavar="N", help="to decode")
    arguments = parser.parse_args()
    model = subject(arguments.model, with_gguf=any(each.setting == "mapped" for each in settings(None)))
    print(f"{description()}; a prompt of {arguments.prompt} tokens, {arguments.tokens} decoded\n")
    under_limits(model, arguments)
    if arguments.disks:
        with_disks(model, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
