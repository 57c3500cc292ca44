"""What a token costs more where its last layers are in another process: the demo model's, whose layers take little.

    python -m tests.benchmarks.stages [--rounds N] [--stages N]
    python -m tests.benchmarks.stages --checkpoint DIR [--memory SIZE] [--tokens N]

Times steps with all layers here and over two processes (or more) in turn, so that other work falls on both alike, and
a frame of gpt-oss-120b's hidden state, 5,760 bytes, there and back. Quartiles in microseconds.

With a checkpoint (`python -m tests.fixtures.checkpoints --preset 20b` writes one) each process gets a budget of SIZE
that holds no more than its part: speeds, and the peak resident memory of each beside its plan.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import mlx.core as mx

from mlx_model.distributed.load import load_across, meet
from mlx_model.errors import BudgetError
from mlx_model.model import Model, load
from tests.fixtures.stages import LocalStages

ROW = 5760
PROMPT = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--stages", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, metavar="DIR")
    parser.add_argument("--memory", default="9GB", metavar="SIZE")
    parser.add_argument("--tokens", type=int, default=16)
    arguments = parser.parse_args()
    if arguments.checkpoint is not None:
        at_full_size(arguments.checkpoint.absolute(), arguments.memory, arguments.tokens)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(LocalStages(Path(folder)).environment())
        hosts = [f"stage{number}" for number in range(arguments.stages)]
        here, across = load("demo"), load_across("demo", hosts)
        steps = [stepper(here), stepper(across)]
        times: list[list[float]] = [[], []]
        for _ in range(arguments.rounds):
            for step, found in zip(steps, times, strict=True):
                start = perf_counter()
                step()
                found.append(perf_counter() - start)
        there, way = (seconds / arguments.rounds for seconds in across.away_s)
        print(f"a token here            {quartiles(times[0])}")
        print(f"over {1 + arguments.stages} processes        {quartiles(times[1])}")
        print(f"in the mean {1e6 * there:.0f} us there, {1e6 * way:.0f} us on the way")
        met = meet(hosts[:1], "demo")[0].remote
        print(f"{ROW:,} bytes and back    {quartiles([met.round_trip(ROW, 1) for _ in range(arguments.rounds)])}")
        met.close()


def at_full_size(checkpoint: Path, memory: str, tokens: int) -> None:
    """A prompt and an answer of random ids over two processes."""
    with tempfile.TemporaryDirectory() as folder:
        stages = LocalStages(Path(folder))
        os.environ.update(stages.environment() | {"GPTOSS_STAGE_ARGUMENTS": f"--memory {memory}"})
        try:
            print(f"alone: {load(checkpoint, memory=memory).plan.total / 1e9:.2f} GB of {memory}")
        except BudgetError as error:
            print(f"alone: {error}")
        model = load_across(checkpoint, ["stage"], memory=memory)
        cache, ids = model.make_cache(), [7 * number % 1000 for number in range(PROMPT)]
        start = perf_counter()
        mx.eval(model.transformer(mx.array([ids]), cache, "last"))
        prefill_s, start = perf_counter() - start, perf_counter()
        for number in range(tokens):
            mx.eval(model.transformer(mx.array([[number]]), cache, "last"))
        print(f"prefill {PROMPT / prefill_s:.2f}, decode {tokens / (perf_counter() - start):.2f} tokens a second")
        there, way = (1000 * seconds / (tokens + 1) for seconds in model.away_s)
        print(f"of a step {there:.0f} ms there, {way:.1f} ms on the way; context {model.plan.context:,} tokens")
        for name, process in (("here", os.getpid()), ("there", stages.processes[-1])):
            print(f"{name}: a peak of {peak_bytes(process) / 1e9:.2f} GB resident, of {memory}")


def peak_bytes(process: int) -> int:
    """The most that was resident of a process, as Linux counts it."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def stepper(model: Model) -> Callable[[], None]:
    """A decode step, again and again, behind a prompt."""
    cache, ids = model.make_cache(), list(range(PROMPT))
    mx.eval(model.forward(ids, cache))

    def step() -> None:
        mx.eval(model.transformer(mx.array([[7]]), cache, "last"))

    return step


def quartiles(seconds: list[float]) -> str:
    found = sorted(seconds)
    return ", ".join(f"{1e6 * found[len(found) * part // 4]:.0f}" for part in (1, 2, 3))


if __name__ == "__main__":
    main()
