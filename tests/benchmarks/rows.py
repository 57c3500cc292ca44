"""Answers that are computed together, beside the same one after the other: `python -m tests.benchmarks.rows`.

For each number of rows: tokens a second of all of them, how many times that of one answer after the other it is, the
experts of a layer that a step reads, and the bytes of weights. Modelled is the number of different experts where each
row draws its own uniformly; counted are those that the router chose, where the model's blocks can be watched. Rounds of
the two ways alternate, and the median is given, since other programs take their share of the machine.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import mean, median

import mlx.core as mx
import numpy as np

from metal import portable
from mlx_model import Model, Options, load
from mlx_model.generation.runner import Runner
from mlx_model.generation.scheduler import Scheduler
from mlx_model.memory.sizes import memory_size
from mlx_model.transformer import blocks


def together(model: Model, prompts: Sequence[Sequence[int]], options: Options) -> float:
    """Tokens a second of all answers, while all of them are answered."""
    scheduler = Scheduler(model)
    reading = [Runner(model, scheduler).steps([*prompt], options) for prompt in prompts]
    counts, begun, before = [0] * len(reading), 0.0, 0
    while True:
        for index, steps in enumerate(reading):
            for item in steps:
                if item is None:
                    break
                counts[index] += isinstance(item, int)
            else:
                elapsed = time.perf_counter() - begun
                for each in reading:
                    each.close()
                return (sum(counts) - before) / elapsed
        if begun == 0 and min(counts) > 0:
            begun, before = time.perf_counter(), sum(counts)


def one_after_the_other(model: Model, prompts: Sequence[Sequence[int]], options: Options) -> float:
    """The same without their prefills."""
    stats = []
    for prompt in prompts:
        runner = Runner(model)
        for _ in runner.run([*prompt], options):
            pass
        stats.append(runner.stats)
    return sum(each.decode_tokens - 1 for each in stats) / sum(each.decode_s for each in stats)


@contextmanager
def routed() -> Iterator[list[mx.array]]:
    """The experts [rows, top_k] that each layer chooses, step by step."""
    seen: list[mx.array] = []
    best = portable.best

    def noted(logits: mx.array, top_k: int) -> tuple[mx.array, mx.array]:
        chosen, weights = best(logits, top_k)
        seen.append(chosen)
        return chosen, weights

    vars(blocks)["best"] = noted  # imported there
    try:
        yield seen
    finally:
        vars(blocks)["best"] = best


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo", help="as for mlx_model.load (default: demo)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--tokens", type=int, default=30, help="of each answer (default: 30)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = load(arguments.model)
    config, plan = model.config, model.plan
    experts, top_k, layers = config.num_local_experts, config.num_experts_per_tok, config.num_hidden_layers
    expert_bytes = plan.experts / layers / experts
    options = Options(seed=1, max_tokens=arguments.tokens)
    dice = np.random.default_rng(0)
    print(
        "| rows | tok/s | one by one | ratio | experts a layer, modelled | counted | bytes a step, modelled | counted |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for rows in arguments.rows:
        prompts = [dice.integers(0, config.vocab_size // 2, 24).tolist() for _ in range(rows)]
        pairs = [
            (together(model, prompts, options), one_after_the_other(model, prompts, options))
            for _ in range(arguments.rounds)
        ]
        with routed() as seen:
            together(model, prompts, options)
        counted = mean(len(set(np.array(each).flatten().tolist())) for each in seen if len(each) == rows) if seen else 0
        modelled = experts * (1 - (1 - top_k / experts) ** rows)
        sizes = [memory_size(int(plan.dense + layers * each * expert_bytes)) for each in (modelled, counted)]
        figures = [f"{modelled:.1f}", f"{counted:.1f}" if seen else "", sizes[0], sizes[1] if seen else ""]
        speeds = [f"{median(pair[index] for pair in pairs):.1f}" for index in (0, 1)]
        ratio = median(both / single for both, single in pairs)
        print(f"| {rows} | {' | '.join(speeds)} | {ratio:.2f} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
