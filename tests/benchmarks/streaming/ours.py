"""The process of this project."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import mlx.core as mx
import numpy as np

from mlx_model import load
from mlx_model.cpu.cache import CompiledCache
from mlx_model.cpu.kernels.formats import Floats
from mlx_model.cpu.transformer import CompiledTransformer
from mlx_model.model import Model
from mlx_model.weights.experts_on_disk import ExpertFile
from tests.benchmarks.peers.machine import resident
from tests.benchmarks.streaming.task import Task, timed
from tests.fixtures.filled_cache import fill

CONTEXT = 1024
SKEW = 1.0
"""What a factor of e in popularity adds to a router's logit, whose own deviation is about as much here."""


def main() -> None:
    """Prints one JSON object."""
    task = Task(**json.loads(sys.argv[1]))
    if task.disk:
        _slow_down(task.disk)
    peak = Peak(Path(task.path))
    model = load(task.path, context=CONTEXT, **task.how)  # type: ignore[arg-type]
    if task.skewed:
        _prefer_some_experts(model)
    streaming, cache = model.transformer.streaming, model.make_cache()

    def compute(ids: list[int]) -> None:
        mx.eval(model.transformer(mx.array([ids]), cache, "last"))

    before = [None if streaming is None else streaming.reads.copy()]
    if task.skewed and streaming is not None:  # what is asked for most is found out, as by the answers before
        timed(replace(task, seed=1, tokens=64), compute)

    def prompt_done() -> None:
        before[0] = None if streaming is None else streaming.reads.copy()

    times = timed(task, compute, prompt_done)
    after = None if streaming is None else streaming.reads.copy()
    if streaming is not None:
        _fill(model, cache, compute)
    reads = None
    if after is not None and before[0] is not None:
        reads = asdict(after.since(before[0]))
    figures = {"load_s": model.load_s, "reads": reads, "peak": peak.nbytes(), "plan": model.plan.total}
    print(json.dumps(asdict(times) | figures), flush=True)


class Peak:
    """The most memory that this process has had of its own since, from hundreds of looks a second: all but pages of the
    checkpoint's files, which the system takes back when it needs them."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = str(checkpoint)
        self._most = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self._most = max(self._most, (resident(os.getpid()) or (0, 0))[0])
            time.sleep(0.005)

    def nbytes(self) -> int:
        """Up to now; of programs and libraries the pages that are in memory now."""
        return self._most + sum(nbytes for name, nbytes in file_pages() if not name.startswith(self._checkpoint))


def file_pages() -> Iterator[tuple[str, int]]:
    """Each mapped file and the bytes of it that are in memory, but for pages of this process' own."""
    name, found = "", 0
    for first, second, *others in map(str.split, Path("/proc/self/smaps").read_text().splitlines()):
        if not first.endswith(":"):
            name = others[-1] if len(others) == 4 else ""
        elif first == "Rss:":
            found = int(second) * 1024
        elif first == "Anonymous:" and name.startswith("/"):
            yield name, found - int(second) * 1024


def _fill(model: Model, cache: CompiledCache, compute: Callable[[list[int]], None]) -> None:
    """Uses all that the memory plan has room for: the context up to its last chunk, which is computed, and all points
    to go back to."""
    end = CONTEXT - model.plan.prefill_chunk
    cache.mark(range(cache.offset + 8, end, (end - cache.offset) // (model.plan.rewind_points + 1)))
    while cache.offset < end:
        fill(cache, min(64, end - cache.offset))
    compute([index % 1000 for index in range(model.plan.prefill_chunk)])


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


if __name__ == "__main__":
    main()
