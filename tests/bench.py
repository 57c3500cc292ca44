"""Times the engine on one model and prints a Markdown table: `python -m tests.bench [--model demo]`.

Every row gives a ratio to something measured in the same run, since times alone say little on a busy machine.
"""

import argparse
import time
from statistics import median

import mlx.core as mx

from mlx_model.events import Finished
from mlx_model.harmony.message import Message, assistant, user
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.runner import Runner
from mlx_model.session import Session

ANSWER = assistant("There are three of them, and here is a sentence more about it. " * 4)


def decode_tok_s(model: Model, context: int, tokens: int) -> float:
    """Tokens decoded a second after a prompt of `context` tokens."""
    runner = Runner(model)
    prompt = [index % 200 for index in range(context)]
    greedy = Options(temperature=0, max_tokens=tokens)
    list(runner.run(prompt, greedy))
    return runner.stats.decode_tok_s


def prefill_tok_s(model: Model, tokens: int) -> float:
    """Prompt tokens computed a second, with an empty cache."""
    runner = Runner(model)
    list(runner.run([index % 200 for index in range(tokens)], Options(temperature=0, max_tokens=1)))
    return runner.stats.prefill_tok_s


def ttft(session: Session, messages: list[Message]) -> tuple[float, int]:
    """Seconds to the first token of an answer, and the prompt tokens computed for it."""
    *_, last = session.stream(messages, Options(temperature=0, max_tokens=1))
    assert isinstance(last, Finished)
    return last.stats.ttft_s, last.stats.prefill_tokens


def turns(count: int) -> list[Message]:
    """A conversation of `count` answered turns and a new question."""
    messages: list[Message] = []
    for turn in range(count):
        messages += [user(f"Question number {turn}: how many r's are in strawberry?"), ANSWER]
    return [*messages, user("How many r's are in strawberry?")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    start = time.perf_counter()
    model = load(given.model)
    mx.eval(model.forward([0]))
    print(f"{given.model} on {mx.default_device()}: ready after {time.perf_counter() - start:.2f} s\n")
    print("| what | result | beside | ratio |\n|---|---:|---:|---:|")

    def row(what: str, unit: str, result: float, beside: float) -> None:
        print(f"| {what} | {result:,.1f} {unit} | {beside:,.1f} {unit} | {result / beside:.2f} |", flush=True)

    runs = range(given.repeat)
    short = median(decode_tok_s(model, 32, 48) for _ in runs)
    row(
        "decode after 2,048 tokens (beside: after 32)",
        "tok/s",
        median(decode_tok_s(model, 2048, 48) for _ in runs),
        short,
    )
    row("prefill of 512 tokens (beside: decode)", "tok/s", median(prefill_tok_s(model, 512) for _ in runs), short)
    for count in (1, 8):
        reused, fresh = [], []
        for _ in runs:
            session = Session(model)
            ttft(session, turns(count - 1))
            reused.append(ttft(session, turns(count)))
            fresh.append(ttft(Session(model), turns(count)))
        what = f"first token of turn {count + 1}: {reused[0][1]} tokens computed (beside: all {fresh[0][1]})"
        row(what, "ms", 1e3 * median(s for s, _ in reused), 1e3 * median(s for s, _ in fresh))


if __name__ == "__main__":
    main()
