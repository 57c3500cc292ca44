"""What a step of training takes, beside peft's and beside the plan; prints two Markdown tables.

    python -m tests.benchmarks.finetune [--peer-python PYTHON] [--rounds N] [--lengths N ...] [--openblas LIBRARY]

The first table is of one checkpoint of random weights, a fifth as wide as gpt-oss-20b: the same adapter beside
attention, the same row of 512 tokens, AdamW, in processes that take turns. transformers trains no MXFP4, so that peft's
experts are multiplied out to float32, and it computes with PyTorch, plain and with gradient checkpointing. MLX's Linux
wheel brings the reference BLAS; where OpenBLAS is found (Debian, Ubuntu: apt install libopenblas0), ours also runs with
that in its place. Memory is the most that the process held while it trained, less what it held before it loaded.

The second table is of two layers with the matrices of gpt-oss-20b (3.3 GB, written once into BENCH_DIR, by default
gptoss-bench in the temporary folder): what a step held beyond weights and adapters. A row of 512 tokens takes some
minutes there.
"""

import argparse
import ctypes.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS, hub_config, write_checkpoint

NARROW = {
    "hidden_size": 576,
    "intermediate_size": 576,
    "num_attention_heads": 16,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "vocab_size": 20_032,
}
LENGTH, STEPS, RATE = 512, 2, 1e-3
OURS, OPENBLAS = "gptoss-chat", "gptoss-chat, OpenBLAS"
ENGINES = (OURS, OPENBLAS, "peft", "peft, checkpointing")


def tokens(length: int, vocabulary: int) -> NDArray[np.int32]:
    """Of a row, without meaning. The second half is learnt."""
    return np.random.default_rng(3).integers(0, vocabulary, length).astype(np.int32)


def status(field: str) -> int:
    """Bytes that Linux states of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """VmHWM begins anew: a peer's loading, which holds the weights twice, is not what is measured."""
    Path("/proc/self/clear_refs").write_text("5")


# ---------------------------------------------------------------------------------------- in processes of their own


def ours(checkpoint: Path, adapter: Path) -> dict[str, Any]:
    """Some steps by this program."""
    import mlx.core as mx

    from mlx_model.lora.forward import Row
    from mlx_model.lora.trainer import Trainer
    from mlx_model.model import load
    from mlx_model.weights.adapter_files import read_adapter

    mx.set_default_device(mx.cpu)
    before = status("VmRSS")
    model = load(checkpoint, differentiable=True)
    trainer = Trainer(model.mlx_transformer, read_adapter(adapter, model.config).adapters)
    ids = tokens(LENGTH, model.config.vocab_size)
    at = np.arange(LENGTH // 2, LENGTH - 1, dtype=np.int32)
    row = Row(ids, (LENGTH,), at, ids[at + 1], np.ones(len(at), np.float32))
    seconds, cpu, losses = [], [], []
    forget_peak()
    for _ in range(STEPS):
        begun, used = time.perf_counter(), time.process_time()
        losses.append(trainer.step([row], RATE).loss)
        seconds.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    return {"seconds": min(seconds), "cpu": min(cpu), "losses": losses, "memory": status("VmHWM") - before}


def pefts(checkpoint: Path, adapter: Path, *, checkpointing: bool) -> dict[str, Any]:
    """The same by peft."""
    import peft
    import torch

    from tests.oracle.write_logits import reference_model

    before = status("VmRSS")
    model = peft.PeftModel.from_pretrained(reference_model(checkpoint), str(adapter), is_trainable=True)
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model.train()
    ids = torch.from_numpy(tokens(LENGTH, model.config.vocab_size)).long()
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    seconds, cpu, losses = [], [], []
    forget_peak()
    for _ in range(STEPS):
        begun, used = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        hidden = model.get_base_model().model(ids[None], use_cache=False).last_hidden_state[0, LENGTH // 2 : -1]
        logits = model.get_base_model().lm_head(hidden)  # of the learnt tokens alone, as ours
        value = torch.nn.functional.cross_entropy(logits, ids[LENGTH // 2 + 1 :])
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(value.item())
        seconds.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
    return {"seconds": min(seconds), "cpu": min(cpu), "losses": losses, "memory": status("VmHWM") - before}


def held(checkpoint: Path, length: int) -> dict[str, Any]:
    """What a step holds beyond weights, adapters and moments, and what of it the plan estimates."""
    import mlx.core as mx

    from mlx_model.lora.forward import Row
    from mlx_model.lora.plan import needs
    from mlx_model.lora.recipe import Recipe
    from mlx_model.lora.trainer import Trainer
    from mlx_model.model import load

    mx.set_default_device(mx.cpu)
    recipe = Recipe(length=length)
    model = load(checkpoint, differentiable=True, dense_bits=16)
    trainer = Trainer(model.mlx_transformer, recipe.adapters(model.config))
    mx.eval(trainer.state)
    ids = tokens(length, model.config.vocab_size)
    at = np.arange(length // 2, length - 1, dtype=np.int32)
    row = Row(ids, (length,), at, ids[at + 1], np.ones(len(at), np.float32))
    mx.reset_peak_memory()
    before, begun = mx.get_active_memory(), time.perf_counter()
    trainer.step([row], RATE)
    seconds, peak = time.perf_counter() - begun, mx.get_peak_memory() - before
    plan = needs(model.config, recipe, 16, on_gpu=False)
    # Of the adapters' five copies, three were held before: themselves and two moments.
    planned = plan.total - plan.weights - plan.program - plan.adapters * 3 // 5
    return {"seconds": seconds, "held": peak, "planned": planned}


# ------------------------------------------------------------------------------------------------------- the tables


def run(python: str, *arguments: str, preload: str | None = None) -> dict[str, Any]:
    """The figures of a child process, into which a library may be loaded first."""
    command = [python, "-m", "tests.benchmarks.finetune", *arguments]
    environment = os.environ | ({"LD_PRELOAD": preload} if preload else {})
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def beside_peft(peer_python: str, rounds: int, openblas: str | None) -> None:
    """The first table."""
    from mlx_model.lora.recipe import Recipe
    from mlx_model.transformer.config import ModelConfig
    from mlx_model.weights.adapter_files import write_adapter

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = write_checkpoint(Path(scratch, "model"), hub_config(**NARROW))
        config = ModelConfig.load(checkpoint)
        write_adapter(Path(scratch, "adapter"), Recipe().adapters(config), "", config.num_hidden_layers, {})
        found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES if engine != OPENBLAS or openblas}
        for _ in range(rounds):
            for engine, runs in found.items():
                python = sys.executable if engine in (OURS, OPENBLAS) else peer_python
                command = (python, "--child", engine, "--checkpoint", str(checkpoint), "--adapter", scratch)
                runs.append(run(*command, preload=openblas if engine == OPENBLAS else None))
                print(f"{engine}: {runs[-1]}", file=sys.stderr)
    print("| engine | s a step | ratio | CPU s a step | memory, MB | ratio | loss of each step |")
    print("|---|---:|---:|---:|---:|---:|---|")
    first: tuple[float, float] | None = None
    for engine, runs in found.items():
        seconds = statistics.median(each["seconds"] for each in runs)
        cpu, memory = (statistics.median(each[figure] for each in runs) for figure in ("cpu", "memory"))
        first = first or (seconds, memory)
        losses = ", ".join(f"{loss:.5f}" for loss in runs[0]["losses"])
        print(
            f"| {engine} | {seconds:.2f} | {seconds / first[0]:.2f} | {cpu:.2f} | {memory / 1e6:.0f} "
            f"| {memory / first[1]:.2f} | {losses} |"
        )


def beside_the_plan(checkpoint: Path, lengths: list[int]) -> None:
    """The second table."""
    print("\n| tokens of the row | held, MB | planned, MB | held / planned | s |\n|---:|---:|---:|---:|---:|")
    for length in lengths:
        found = run(sys.executable, "--child", "held", "--checkpoint", str(checkpoint), "--lengths", str(length))
        mine, plan = found["held"], found["planned"]
        print(
            f"| {length:,} | {mine / 1e6:.0f} | {plan / 1e6:.0f} | {mine / plan:.3f} | {found['seconds']:.0f} |",
            flush=True,
        )


def main() -> None:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.finetune")
    folder = Path(os.environ.get("BENCH_DIR") or Path(tempfile.gettempdir()) / "gptoss-bench") / "two-layer"
    parser.add_argument("--peer-python", default=sys.executable, metavar="PYTHON", help="one that has peft")
    parser.add_argument("--rounds", type=int, default=3, help="of the first table; 0 leaves it out")
    parser.add_argument("--lengths", type=int, nargs="*", default=[256, 512], help="tokens of the second table's rows")
    parser.add_argument("--checkpoint", type=Path, default=folder, metavar="DIR", help="of the second table")
    parser.add_argument("--openblas", default=ctypes.util.find_library("openblas"), metavar="LIBRARY")
    parser.add_argument("--adapter", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=[*ENGINES, "held"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    match arguments.child:
        case None:
            if arguments.rounds:
                beside_peft(arguments.peer_python, arguments.rounds, arguments.openblas)
            if not arguments.lengths:
                return
            if not (arguments.checkpoint / "config.json").is_file():
                print(f"Writing the checkpoint of two layers into {arguments.checkpoint}", file=sys.stderr)
                write_checkpoint(arguments.checkpoint, PRESETS["two-layer"]())
            beside_the_plan(arguments.checkpoint, arguments.lengths)
        case engine if engine in (OURS, OPENBLAS):
            print(json.dumps(ours(arguments.checkpoint, arguments.adapter / "adapter")))
        case "held":
            print(json.dumps(held(arguments.checkpoint, arguments.lengths[0])))
        case engine:
            checkpointing = engine != "peft"
            print(json.dumps(pefts(arguments.checkpoint, arguments.adapter / "adapter", checkpointing=checkpointing)))
    if arguments.child:
        sys.stdout.flush()
        os._exit(0)  # a preloaded OpenBLAS can wait for its own threads for ever in its exit handler


if __name__ == "__main__":
    main()
