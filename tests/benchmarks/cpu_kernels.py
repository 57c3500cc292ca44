"""How fast the CPU's kernels read their weights, beside the memory's speed measured between them.

    python -m tests.benchmarks.cpu_kernels [--threads N] [--tokens 1,4,32,128] [--busy N] [--rounds N] [--only NAME]

A table of GB/s of weights, with its share of the memory's speed, for one token, and of GFLOP/s beside numpy's matrix
product for several. The sizes are those of gpt-oss-20b; matrices are larger than any cache and each call meets other
rows. Kernels take turns, and the best of the rounds counts, so that what else runs disturbs all alike; `--busy` starts
so many endless loops beside them, and then the median counts.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import numpy as np
from numpy.typing import NDArray

from mlx_model.cpu.compiling import kernel
from mlx_model.cpu.kernels.dense import dense
from mlx_model.cpu.kernels.experts import down, few_down, few_gate_up, gate_up
from mlx_model.cpu.kernels.formats import Affine4, Affine6, Affine8, Experts, Floats, fields_of
from mlx_model.cpu.kernels.lanes import arrange, for_few, padded
from mlx_model.cpu.kernels.panels import FEW
from mlx_model.cpu.kernels.sharing import take
from mlx_model.cpu.threads import Team

HIDDEN, HEADS, EXPERTS, TOP_K = 2880, 4096, 32, 4
QUERY_KEY_VALUE = 5120
COLD = 3 << 28
"""Bytes in which all matrices lie: each call takes another part of them."""

ENDLESS = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
"""A program that keeps a processor busy until its parent is gone."""

Job = Callable[[int], object]
rng = np.random.default_rng(0)


@kernel
def _read(state, part, data, sums):  # type: ignore[no-untyped-def]
    """The sum of data [n, 8192] uint64, which is no work beside reading it."""
    chunk = take(state, part, len(data))
    while chunk >= 0:
        total = np.uint64(0)
        for index in range(data.shape[1]):
            total += data[chunk, index]
        sums[chunk] = total
        chunk = take(state, part, len(data))


def pool() -> NDArray[np.uint8]:
    """Weights for all: as bfloat16 they are small numbers, as codes anything."""
    some = rng.integers(0, 1 << 16, 1 << 21, dtype=np.uint16) & 0x8FFF | 0x3000
    return frozen(np.tile(some, COLD // some.nbytes).view(np.uint8))


def parts(pool: NDArray[np.uint8], shape: tuple[int, ...]) -> list[NDArray[np.uint8]]:
    """As many arrays of the shape as the pool has."""
    size = int(np.prod(shape))
    return [pool[start : start + size].reshape(shape) for start in range(0, len(pool) - size + 1, size)]


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Read-only, as views of a mapped file are."""
    array.flags.writeable = False
    return array


def reading(team: Team, pool: NDArray[np.uint8]) -> tuple[Job, int, int]:
    """Reads memory, does nothing with it: a sixth of the pool."""
    places = parts(pool.view(np.uint64), (COLD // (6 << 16), 8192))
    sums = np.zeros(len(places[0]), np.uint64)

    def job(index: int) -> None:
        data = places[index % 6]
        team.run(lambda state, part: _read(state, part, data, sums))

    return job, places[0].nbytes, 0


def dense_job(
    team: Team, pool: NDArray[np.uint8], kind: type, rows: int, columns: int, tokens: int
) -> tuple[Job, int, int]:
    """One dense product."""
    items = {Floats: 2, Affine8: 1, Affine6: 0.75, Affine4: 0.5}[kind]
    row_bytes = int(columns * items)
    bias = frozen(np.zeros(rows, np.float32))
    packed = parts(pool, (rows, row_bytes))
    nbytes = rows * row_bytes
    if kind is Floats:
        matrices = [Floats(each.view(np.uint16), bias) for each in packed]
    else:
        groups = frozen(np.full((rows, columns // 64), 0x3C00, np.uint16))
        matrices = [kind(each, groups, groups, bias) for each in packed]
        nbytes += 2 * groups.nbytes
    x = rng.normal(size=(tokens, padded(columns, fields_of(kind)))).astype(np.float32)
    x[:, columns:] = 0
    y = np.zeros((tokens, rows), np.float32)

    def job(index: int) -> None:
        matrix = matrices[index % len(matrices)]
        team.run(lambda state, part: dense(state, part, matrix, x, y))

    return job, nbytes, 2 * tokens * rows * columns


def expert_job(team: Team, pool: NDArray[np.uint8], name: str, tokens: int) -> tuple[Job, int, int]:
    """gate_up or down of one layer; tokens choose their experts at random."""
    n = 2 * HIDDEN if name == "gate_up" else HIDDEN
    scales = frozen(rng.integers(118, 126, (EXPERTS, n, HIDDEN // 32), dtype=np.uint8))
    bias = frozen(np.zeros((EXPERTS, n), np.float32))
    experts = [Experts(blocks, scales, bias) for blocks in parts(pool, (EXPERTS, n, HIDDEN // 2))]
    slots, routes = frozen(np.arange(EXPERTS, dtype=np.int32)), []
    for _ in range(8):
        chosen = np.stack([rng.permutation(EXPERTS)[:TOP_K] for _ in range(tokens)])
        order = np.argsort(chosen, axis=None, kind="stable")
        routes.append((np.searchsorted(chosen.ravel()[order], np.arange(EXPERTS + 1)), order // TOP_K))
    pairs = tokens * TOP_K
    wide = padded(HIDDEN, 8)
    x, hidden = np.zeros((tokens, wide), np.float32), np.zeros((pairs, wide), np.float32)
    few = tokens <= FEW
    x, hidden = (for_few(each) if few else each for each in (x, hidden))
    for line in (*x, *hidden):
        arrange(rng.normal(size=HIDDEN).astype(np.float32), 8, line)
    through_gate_up, through_down = (few_gate_up, few_down) if few else (gate_up, down)
    y, weights, limit = np.zeros((tokens, HIDDEN), np.float32), np.full(pairs, 0.25, np.float32), np.float32(7)

    def job(index: int) -> None:
        matrix, (starts, of) = experts[index % len(experts)], routes[index % len(routes)]
        if name == "gate_up":
            team.run(lambda state, part: through_gate_up(state, part, matrix, slots, x, starts, of, limit, hidden))
        else:
            team.run(lambda state, part: through_down(state, part, matrix, slots, hidden, starts, of, weights, y))

    used = sum(float(np.count_nonzero(np.diff(starts))) for starts, _ in routes) / len(routes)
    return job, int(used * n * (HIDDEN // 2 + HIDDEN // 32)), 2 * pairs * n * HIDDEN


def numpy_job(tokens: int) -> tuple[Job, int, int]:
    """The same product as qkv by numpy's BLAS, from weights that are float32 already."""
    x, y = rng.normal(size=(tokens, HIDDEN)).astype(np.float32), np.empty((tokens, QUERY_KEY_VALUE), np.float32)
    w = rng.normal(size=(QUERY_KEY_VALUE, HIDDEN)).astype(np.float32)
    return lambda _: np.matmul(x, w.T, out=y), w.nbytes, 2 * y.size * HIDDEN


def jobs(team: Team, pool: NDArray[np.uint8], tokens: int) -> dict[str, tuple[Job, int, int]]:
    """Name -> job, bytes of weights, floating-point operations."""
    sizes = {"qkv": (QUERY_KEY_VALUE, HIDDEN), "o_proj": (HIDDEN, HEADS)} | (
        {"output / 2": (100_544, HIDDEN)} if tokens == 1 else {}
    )
    made = {name: expert_job(team, pool, name, tokens) for name in ("gate_up", "down")}
    made |= {f"{name} bf16": dense_job(team, pool, Floats, *size, tokens) for name, size in sizes.items()}
    for kind in (Affine8, Affine6, Affine4):
        made[f"qkv {kind.__name__}"] = dense_job(team, pool, kind, *sizes["qkv"], tokens)
    if tokens > 1:
        made["qkv numpy"] = numpy_job(tokens)
    return made


def timed(job: Job, index: int) -> float:
    start = time.perf_counter()
    job(index)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tokens", default="1,4,32,128")
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    team, weights = Team(options.threads), pool()
    summary, word = (median, "median") if options.busy else (min, "best")
    loops = [subprocess.Popen([sys.executable, "-c", ENDLESS]) for _ in range(options.busy)]
    try:
        for tokens in map(int, options.tokens.split(",")):
            chosen = {name: job for name, job in jobs(team, weights, tokens).items() if options.only in name}
            chosen = {"read": reading(team, weights)} | chosen
            times: dict[str, list[float]] = {name: [] for name in chosen}
            for index in range(-1, max(3, options.rounds // max(1, tokens // 16))):
                for name, (job, _, _) in chosen.items():
                    seconds = timed(job, index)
                    if index >= 0:  # the first call compiles
                        times[name].append(seconds)
            memory = chosen["read"][1] / summary(times["read"])
            print(f"\n{tokens} token{'s' * (tokens > 1)}, {options.threads} threads, {word} of {len(times['read'])}")
            for name, (_, nbytes, operations) in chosen.items():
                seconds = summary(times[name])
                print(
                    f"  {name:12} {seconds * 1e3:8.2f} ms {nbytes / seconds / 1e9:7.1f} GB/s "
                    f"{nbytes / seconds / memory:5.0%} of reading {operations / seconds / 1e9:7.1f} GFLOP/s",
                    flush=True,
                )
    finally:
        for loop in loops:
            loop.kill()


if __name__ == "__main__":
    main()
