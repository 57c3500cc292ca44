"""Compares this project with mlx-lm on one full-size checkpoint and prints a Markdown table (`make bench-peers`).

    python -m tests.benchmarks.peers [--checkpoint DIR] [--rounds N] [--prompt-tokens N] [--decode-tokens N]
                                      [--openblas LIBRARY] [--only NAME ...]

The checkpoint has the sizes of gpt-oss-20b and random weights (fixtures/checkpoints.py, 13.8 GB, written once into
BENCH_DIR, by default gptoss-bench in the temporary folder). Every engine runs alone, in a process of its own, on the
same prompt ids, greedily. Rounds alternate between the engines, and the table gives medians, so that what else
the machine does meets all of them alike; a figure of one run alone means little on a shared machine.

On a CPU mlx-lm has two settings. As it comes it computes in bfloat16, which MLX emulates there. Its best is
everything in float32 with OpenBLAS in place of the reference BLAS that MLX's Linux wheel brings: install the
system's OpenBLAS (Debian, Ubuntu: apt install libopenblas0), which is preloaded when it is found, or name the
library with --openblas. On a Mac there is one setting only, mlx-lm as it comes.
"""

import argparse
import ctypes.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS, write_checkpoint

GIB = 2**30
OURS = "gptoss-chat"


@dataclass(frozen=True)
class Engine:
    """A command that takes --model, --raw-tokens and --max-tokens and prints JSON with `tokens` and `stats`."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    rounds: int | None = None  # at most


@dataclass(frozen=True)
class Run:
    """The figures of one process. Peaks are resident bytes, of the whole process."""

    load_s: float
    load_peak: int
    peak: int
    prefill_tok_s: float
    decode_tok_s: float


def engines(openblas: str | None) -> list[Engine]:
    """Ours and mlx-lm in the settings that make sense on this machine."""
    peer = f"mlx-lm {version('mlx-lm')}"
    worker = (sys.executable, "-m", "tests.benchmarks.run_mlx_lm")
    ours = Engine(OURS, (sys.executable, "-m", "mlx_model.generate", "--temperature", "0", "--seed", "0", "--json"))
    if sys.platform == "darwin":
        return [ours, Engine(peer, worker)]
    best = Engine(f"{peer}, float32", (*worker, "--float32"))
    if openblas:
        best = Engine(f"{best.name}, OpenBLAS", best.command, {"LD_PRELOAD": openblas})
    # A quarter of an hour for one run on two cores: once is enough to know its place.
    return [ours, Engine(f"{peer} as it comes", worker, rounds=1), best]


def run(engine: Engine, checkpoint: Path, prompt: list[int], tokens: int) -> tuple[dict[str, float], int]:
    """One process: its own figures, and the peak of its resident set in bytes. Exits if it fails."""
    command = [*engine.command, "--model", str(checkpoint), "--max-tokens", str(tokens)]
    command += ["--raw-tokens", ",".join(map(str, prompt))]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | engine.environment, stdin=subprocess.DEVNULL, stdout=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        sys.exit(f"{engine.name} failed with exit code {process.returncode}: {' '.join(command[:4])} ...")
    answer = json.loads(text)
    if len(answer["tokens"]) != tokens:
        sys.exit(f"{engine.name} gave {len(answer['tokens'])} tokens instead of {tokens}")
    return answer["stats"], usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(engine: Engine, checkpoint: Path, prompt: list[int], tokens: int) -> Run:
    """Two processes: one that does little more than load, for the peak of loading, and the real one."""
    _, load_peak = run(engine, checkpoint, prompt[:1], 1)
    stats, peak = run(engine, checkpoint, prompt, tokens)
    return Run(stats["load_s"], load_peak, peak, stats["prefill_tok_s"], stats["decode_tok_s"])


def table(runs: dict[str, list[Run]]) -> str:
    """The medians as Markdown, and below them our ratio to each setting of the peer."""
    medians = {
        name: Run(*(statistics.median(column) for column in zip(*map(_row, several), strict=True)))
        for name, several in runs.items()
    }
    lines = [
        "| engine | load, s | peak memory loading, GiB | peak memory, GiB | prefill, tok/s | decode, tok/s | runs |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, m in medians.items():
        lines.append(
            f"| {name} | {m.load_s:.1f} | {m.load_peak / GIB:.2f} | {m.peak / GIB:.2f} "
            f"| {m.prefill_tok_s:.2f} | {m.decode_tok_s:.2f} | {len(runs[name])} |"
        )
    if OURS in medians:
        for name, m in medians.items():
            if name != OURS:
                pairs = zip(_row(medians[OURS]), _row(m), strict=True)
                ratios = " | ".join(f"{mine / theirs:.2f}" for mine, theirs in pairs)
                lines.append(f"| *{OURS} / {name}* | {ratios} | |")
    return "\n".join(lines)


def _row(r: Run) -> tuple[float, ...]:
    return (r.load_s, r.load_peak, r.peak, r.prefill_tok_s, r.decode_tok_s)


def machine() -> str:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    return (
        f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, MLX {version('mlx')}, NumPy {version('numpy')}"
    )


def main() -> int:
    """The command; see the module's docstring."""
    default = os.environ.get("BENCH_DIR") or Path(tempfile.gettempdir()) / "gptoss-bench"
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("--checkpoint", type=Path, default=default, metavar="DIR")
    parser.add_argument("--preset", choices=PRESETS, default="20b", help="what to write if DIR has no checkpoint")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--decode-tokens", type=int, default=16)
    parser.add_argument("--openblas", default=ctypes.util.find_library("openblas"), metavar="LIBRARY")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="engines whose name contains one of these")
    arguments = parser.parse_args()
    checkpoint = Path(arguments.checkpoint).resolve()
    if not (checkpoint / "config.json").is_file():
        print(f"Writing the {arguments.preset} checkpoint into {checkpoint}", file=sys.stderr)
        write_checkpoint(checkpoint, PRESETS[arguments.preset]())
    config = json.loads((checkpoint / "config.json").read_text())
    # Below 199,998 there are only text tokens.
    drawn = np.random.PCG64(0).random_raw(arguments.prompt_tokens) % np.uint64(min(config["vocab_size"], 199_998))
    prompt = drawn.tolist()

    chosen = [
        engine
        for engine in engines(arguments.openblas)
        if not arguments.only or any(part in engine.name for part in arguments.only)
    ]
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(arguments.rounds):
        for engine in chosen:
            if engine.rounds is not None and number >= engine.rounds:
                continue
            start = time.perf_counter()
            result = measure(engine, checkpoint, prompt, arguments.decode_tokens)
            runs[engine.name].append(result)
            load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
            print(
                f"round {number + 1}, {engine.name}: prefill {result.prefill_tok_s:.2f}, "
                f"decode {result.decode_tok_s:.2f} tok/s, {time.perf_counter() - start:.0f} s in all, load {load}",
                file=sys.stderr,
            )
    size = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors")) / 1e9
    print(f"{config['num_hidden_layers']} layers, {size:.1f} GB of random weights; {machine()}.")
    print(f"{arguments.prompt_tokens} prompt tokens, {arguments.decode_tokens} decoded; medians.\n")
    print(table(runs))
    if sys.platform != "darwin" and not arguments.openblas:
        print("\nNo OpenBLAS was found for mlx-lm's best setting (see --help).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
