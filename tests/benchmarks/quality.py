"""What fewer bits for the dense part cost: the KL divergence of the logits, printed as a Markdown table.

    python -m tests.benchmarks.quality [--checkpoint DIR]

Attention and output matrix at 8, 6 and 4 bits are compared with the same model unquantised, in float32: on the demo
model with text of its own kind, and on a checkpoint with the matrices of gpt-oss-20b, two layers of them and random
weights (3.3 GB, written once into BENCH_DIR, by default gptoss-bench in the temporary folder). Random weights have none
of the regularities that make trained ones easy to round, and their router often ties, so that an expert is swapped for
another by noise that a trained model would not notice: the second figures are bounds, not forecasts.
"""

import argparse
import gc
import os
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_model.generation.session import Session
from mlx_model.harmony.message import user
from mlx_model.model import load
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.checkpoints import PRESETS, write_checkpoint

BITS = (8, 6, 4)
QUESTIONS = (
    "How many r's are in strawberry?",
    "Spell the word keyboard backwards.",
    "What is 17 + 25?",
    "Which key starts a new chat?",
    "How do I stop an answer?",
    "Who wrote Faust?",
)


def demo_tokens() -> list[list[int]]:
    """Conversations as the demo knows them, answered by the unquantised model itself, greedily."""
    session = Session(load("demo", dense_bits=16))
    prompts = []
    for question in QUESTIONS:
        request = Request((user(question),), Options(temperature=0, max_tokens=96))
        for _ in session.stream(request):
            pass
        prompts.append([*session.prompt(request), *session.tokens])
    return prompts


def random_tokens(vocabulary: int, length: int) -> list[list[int]]:
    """Ids without meaning: random weights know no other."""
    drawn = np.random.PCG64(0).random_raw(length) % np.uint64(vocabulary)
    return [drawn.tolist()]


def log_probabilities(name: str, bits: int, texts: list[list[int]]) -> NDArray[np.float64]:
    """Of every next token after every token of every text: float64 [tokens, vocabulary]."""
    model = load(name, dense_bits=bits)
    rows = []
    for tokens in texts:
        logits = np.array(model.forward(tokens)[0], dtype=np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        rows.append(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))
    del model
    gc.collect()
    mx.clear_cache()
    return np.concatenate(rows)


def compare(name: str, label: str, texts: list[list[int]]) -> None:
    """Print one row a number of bits."""
    exact = log_probabilities(name, 16, texts)
    best = exact.argmax(axis=-1)
    for bits in BITS:
        near = log_probabilities(name, bits, texts)
        divergence = (np.exp(exact) * (exact - near)).sum(axis=-1)
        same = (near.argmax(axis=-1) == best).mean()
        print(
            f"| {label} | {bits} | {divergence.mean():.2e} | {np.median(divergence):.2e} "
            f"| {np.quantile(divergence, 0.99):.2e} | {100 * same:.1f} |",
            flush=True,
        )


def main() -> None:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quality")
    default = Path(os.environ.get("BENCH_DIR") or Path(tempfile.gettempdir()) / "gptoss-bench") / "two-layer"
    parser.add_argument("--checkpoint", type=Path, default=default, metavar="DIR")
    parser.add_argument("--tokens", type=int, default=32, help="of random text for the checkpoint")
    arguments = parser.parse_args()
    mx.set_default_device(mx.cpu)
    if not (arguments.checkpoint / "config.json").is_file():
        write_checkpoint(arguments.checkpoint, PRESETS["two-layer"]())
    print("| model | bits | KL divergence, mean, nats | median | 99th percentile | same first choice, % |")
    print("|---|---:|---:|---:|---:|---:|")
    texts = demo_tokens()
    compare("demo", f"demo, {sum(map(len, texts))} tokens", texts)
    texts = random_tokens(199_998, arguments.tokens)
    compare(str(arguments.checkpoint), f"20b's matrices, two layers, {arguments.tokens} tokens", texts)


if __name__ == "__main__":
    main()
