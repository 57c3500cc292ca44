"""Time the parser and the decoder per token beside openai-harmony's, and the loading of the tokenizer.

Run by `make bench-harmony`. Both parsers get the same tokens in turns, in one process; the best round counts, and the
time is the process's own, so that other programs disturb little. Python's parser also makes the events and keeps the
ids; the library's has its last delta asked for, as a program that streams must.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import openai_harmony as oh

from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.harmony.parse import StreamParser
from mlx_model.harmony.render import Renderer
from mlx_model.harmony.tokenizer import StreamDecoder, Tokenizer
from tests.fixtures.vocabulary import hub_folder, o200k, oracle

THOUGHT = (
    "The user asks for a sum. We add both numbers, carry the one, and check: 17 + 25 = 42 — that's fine. 数は 42 💖. "
)
CODE = 'for i in range(10):\n    print(f"{i:>3} {i ** 2}")\n'


def answer(length: int) -> list[int]:
    """An answer of about `length` tokens: mostly analysis, then a call, then the answer in markdown."""
    part = [
        assistant(THOUGHT * 12, "analysis"),
        Message(Role.ASSISTANT, CODE * 4, None, "analysis", "python", "code"),
        assistant("It is **42**, because:\n\n1. 17 + 25 = 42\n" * 12),
    ]
    ids = Renderer(o200k()).conversation(part)
    return (ids * (length // len(ids) + 1))[2:]


def best(run: Callable[[], object], rounds: int) -> float:
    """Seconds of the quickest of several runs."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        made = run()
        times.append(time.process_time() - start)
        del made  # freeing it is not part of the work
    return min(times)


def parse_ours(tokens: list[int]) -> int:
    parser = StreamParser(o200k())
    events = sum(len(parser.push(token)) for token in tokens)
    return events + len(parser.finish())


def decode_ours(tokens: list[int]) -> None:
    decoder = StreamDecoder(o200k())
    for token in tokens:
        decoder.push(token)
    decoder.flush()


def parse_theirs(tokens: list[int]) -> int:
    parser = oh.StreamableParser(oracle(), oh.Role.ASSISTANT)
    return sum(bool(parser.process(token).last_content_delta) for token in tokens)


def loading(rounds: int) -> tuple[float, float, float]:
    """Milliseconds of loading tokenizer.json for the first time, and again; and of reading nothing but the file."""
    folder = Path(tempfile.mkdtemp(prefix="bench-harmony-"))
    os.environ["GPTOSS_CACHE_DIR"] = str(folder)
    try:
        first = best(lambda: Tokenizer.load(hub_folder()), 1)
        again = best(lambda: Tokenizer.load(hub_folder()), rounds)
    finally:
        shutil.rmtree(folder)
    reading = best((hub_folder() / "tokenizer.json").read_bytes, rounds)
    return 1e3 * first, 1e3 * again, 1e3 * reading


def main() -> None:
    """Print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tokens", type=int, default=5000, help="length of the answer that is parsed")
    arguments.add_argument("--rounds", type=int, default=7, help="how often; the best counts")
    options = arguments.parse_args()
    tokens = answer(options.tokens)
    per_token = 1e6 / len(tokens)
    ours, theirs, decoding = (
        per_token * best(lambda run=run: run(tokens), options.rounds)  # type: ignore[misc]
        for run in (parse_ours, parse_theirs, decode_ours)
    )
    print(f"{len(tokens)} tokens, best of {options.rounds}, CPU time")
    print(f"parser and decoder       {ours:8.2f} us a token (the decoder alone {decoding:.2f})")
    print(f"openai-harmony           {theirs:8.2f} us a token (StreamableParser)")
    print(f"ratio                    {theirs / ours:8.2f} times as fast")
    first, again, reading = loading(options.rounds)
    print(f"tokenizer, first start   {first:8.0f} ms (parses tokenizer.json)")
    print(f"tokenizer, later starts  {again:8.0f} ms (checks its SHA-256; reading it alone takes {reading:.0f} ms)")


if __name__ == "__main__":
    main()
