"""What a token costs more where its last layers are in another process: the demo model's, whose layers take little.

    python -m tests.benchmarks.stages [--rounds N] [--stages N]

Times steps with all layers here and over two processes (or more) in turn, so that other work falls on both alike, and
a frame of gpt-oss-120b's hidden state, 5,760 bytes, there and back. Quartiles in microseconds.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import mlx.core as mx

from mlx_model.distributed.load import load_across, meet
from mlx_model.model import Model, load
from tests.fixtures.stages import LocalStages

ROW = 5760
PROMPT = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--stages", type=int, default=1)
    arguments = parser.parse_args()
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
