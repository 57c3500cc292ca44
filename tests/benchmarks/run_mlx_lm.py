"""Runs mlx-lm on raw token ids and prints one JSON object of figures: the child process of bench_peers.

python -m tests.benchmarks.run_mlx_lm --model DIR --raw-tokens "1,2,3" --max-tokens N [--float32]
"""

import argparse
import json
import os
import time
from pathlib import Path

import mlx.core as mx
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model


def main() -> None:
    """Loads, continues the ids greedily, prints load_s, prefill_tok_s, decode_tok_s and tokens."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--raw-tokens", required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--float32", action="store_true", help="turn every float tensor into float32")
    arguments = parser.parse_args()

    start = time.perf_counter()
    # Lazily, so that each tensor can be converted as it is read: mlx-lm's smallest load peak.
    model, _ = load_model(arguments.model, lazy=True)
    if arguments.float32:
        model.set_dtype(mx.float32)
    mx.eval(model.parameters())
    load_s = time.perf_counter() - start

    prompt = [int(part) for part in arguments.raw_tokens.split(",")]
    tokens, times = [], [time.perf_counter()]
    for token, _ in generate_step(mx.array(prompt), model, max_tokens=arguments.max_tokens):
        tokens.append(int(token))
        times.append(time.perf_counter())
    decode_s = times[-1] - times[1]
    figures = {
        "load_s": load_s,
        "prefill_tok_s": len(prompt) / (times[1] - times[0]),
        "decode_tok_s": (len(tokens) - 1) / decode_s if len(tokens) > 1 else 0.0,
    }
    print(json.dumps({"tokens": tokens, "stats": figures}), flush=True)


if __name__ == "__main__":
    main()
    # A preloaded OpenBLAS (seen with 0.3.21) can wait for its own threads for ever in its exit handler.
    os._exit(0)
