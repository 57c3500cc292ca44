"""Compares this project with llama.cpp and mlx-lm on the same weights; prints Markdown tables (`make bench-peers`).

    python -m tests.benchmarks.peers [--models NAME ...] [--rounds N] [--only NAME ...] [--busy N ...]
                                     [--prompts N ...] [--tokens N] [--openblas LIBRARY]

The model has the sizes of gpt-oss-20b and random weights (tests/fixtures/checkpoints.py: 13.8 GB; as many again as
GGUF, in which each weight has the same bits: tests/peers/gguf_layout.py). Both are written once into BENCH_DIR, by
default gptoss-bench in the temporary folder. Each engine runs alone, in a process of its own, on the same ids,
greedily; rounds alternate between the engines. In the first round each is also loaded after its files were dropped from
the page cache; for everything else they are read into it first. `make` builds llama.cpp into build/llama.cpp, with all
that this CPU has; another such environment can be named by LLAMA_CPP.

A quick look takes a model of two layers of the real sizes: --models two-layer. What other work does to the speed:
--models demo 20b --busy 0 1 2 --only gptoss-chat, beside as many processes that do nothing but count.

On a CPU mlx-lm has two settings. As it comes it computes in bfloat16, which MLX emulates there. Its best is everything
in float32 with OpenBLAS in place of the reference BLAS that MLX's Linux wheel brings: install the system's OpenBLAS
(Debian, Ubuntu: apt install libopenblas0), which is preloaded when it is found, or name the library with --openblas.
"""

import argparse
import ctypes.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict

from tests.benchmarks.peers.child import Figures, Task
from tests.benchmarks.peers.machine import busy_loops, forget, read_bandwidth, remember, resident
from tests.benchmarks.peers.settings import Setting, Subject, missing, settings, subject
from tests.benchmarks.peers.tables import Run, report
from tests.fixtures import ROOT
from tests.fixtures.checkpoints import PRESETS

SAMPLE_S = 0.05
"""Between two looks at the memory of a process."""
LONGEST = 512
"""Tokens of a prompt, which llama.cpp computes at once (engines/llama_cpp.py)."""
LIMIT_S = 60.0
"""Of the prompts of one process, and of its decoding."""


def run(setting: Setting, task: Task) -> tuple[Figures, int]:
    """One process: its figures, and the most memory of its own that it had (sampled). Exits if it fails."""
    command = [str(setting.python), "-m", "tests.benchmarks.peers.child", json.dumps(asdict(task))]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | setting.environment, stdin=subprocess.DEVNULL, stdout=output
        )
        anonymous = [0]
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, anonymous, ended))
        watcher.start()
        process.wait()
        ended.set()
        watcher.join()
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        sys.exit(f"{setting.name} failed with exit code {process.returncode}")
    figures = json.loads(text.splitlines()[-1])
    figures["prefill_s"] = {int(length): seconds for length, seconds in figures["prefill_s"].items()}
    return Figures(**figures), max(anonymous)


def _watch(pid: int, anonymous: list[int], ended: threading.Event) -> None:
    """Notes the anonymous memory of a process until it has ended."""
    while not ended.wait(SAMPLE_S):
        if (memory := resident(pid)) is not None:
            anonymous.append(memory[0])


def measure(setting: Setting, model: Subject, number: int, busy: int, arguments: argparse.Namespace) -> Run:
    """One engine in one round, beside so many busy loops."""
    prompts = tuple(setting.prompts or arguments.prompts)
    files = model.files(setting)

    def task(prompts: tuple[int, ...]) -> Task:
        path, tokens = str(model.path(setting)), setting.tokens or arguments.tokens
        return Task(
            setting.engine, setting.setting, path, model.vocabulary, prompts, tokens, LIMIT_S, begun=time.time()
        )

    cold = None
    if number == 0 and not busy:
        forget(files)
        cold, _ = run(setting, task(()))
    remember(files)
    bandwidth = read_bandwidth()
    with busy_loops(busy):
        figures, most_anonymous = run(setting, task(prompts))
        load = os.getloadavg()[0]
    return Run(setting, busy, cold, figures, most_anonymous, bandwidth, load)


def compare(model: Subject, chosen: Sequence[Setting], arguments: argparse.Namespace) -> list[Run]:
    """All engines by turns."""
    runs = []
    for number in range(arguments.rounds):
        for busy in arguments.busy:
            for setting in chosen:
                if setting.rounds is not None and number >= setting.rounds:
                    continue
                start = time.perf_counter()
                runs.append(measure(setting, model, number, busy, arguments))
                seconds = time.perf_counter() - start
                print(f"{model.name}, round {number + 1}, {runs[-1].summary}, {seconds:.0f} s in all", file=sys.stderr)
    return runs


def main() -> int:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("--models", nargs="+", choices=["demo", *PRESETS], default=["20b"], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="engines whose name begins with one of these")
    parser.add_argument("--busy", type=int, nargs="+", default=[0], metavar="N", help="beside so many busy processes")
    parser.add_argument("--prompts", type=int, nargs="+", default=[8, 32, 128, 512], metavar="N", help="tokens of each")
    parser.add_argument("--tokens", type=int, default=24, help="to decode at least")
    parser.add_argument("--openblas", default=ctypes.util.find_library("openblas"), metavar="LIBRARY")
    arguments = parser.parse_args()
    if not all(1 <= length <= LONGEST for length in arguments.prompts):
        parser.error(f"a prompt has 1 to {LONGEST} tokens")
    chosen = found = list(settings(arguments.openblas))
    if arguments.only:
        chosen = [each for each in found if any(each.name.startswith(start) for start in arguments.only)]
    elif absent := missing(found, arguments.openblas):
        print(absent, file=sys.stderr)
    if not chosen:
        parser.error(f"no engine's name begins with {' or '.join(arguments.only)}")
    for name in arguments.models:
        model = subject(name, with_gguf=any(setting.wants_gguf for setting in chosen))
        print(report(model, compare(model, chosen, arguments), arguments.prompts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
