"""Answers with guesses from the prompt beside the same without (`make bench-lookup`).

    python -m tests.benchmarks.lookup [MODEL] [--tokens 400] [--rounds 3] [--tasks 0 3]

The answers to edits, quotes and a free question (edits.toml) are given to the model token by token, since a model with
random weights has none: what is computed and accepted is what it would be for a model that answers so. The demo model
also answers questions of its own kind by itself. Rounds with and without guesses alternate, and medians are given,
since other programs take their share. Counted: tokens a step. Modelled, for a GPU whose steps take as long as
reading the weights does: the speed ratio, where the rows of a step choose their experts by themselves; text of one kind
chooses alike, so this says too little rather than too much.
"""

import argparse
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import mlx.core as mx

from mlx_model import Model, Options, Request, Session, load, user
from mlx_model.generation import runner as runner_module
from mlx_model.generation.lookup import PromptLookup
from mlx_model.generation.runner import Runner
from mlx_model.generation.scheduler import Scheduler
from mlx_model.harmony.message import assistant
from mlx_model.harmony.prompt import system_message
from mlx_model.harmony.render import Renderer
from mlx_model.harmony.tokenizer import Tokenizer
from tests.fixtures.vocabulary import o200k

TASKS = tomllib.loads(Path(__file__).with_name("edits.toml").read_text())["task"]
QUESTIONS = (
    "How many r's are in strawberry?",
    "Spell umbrella backwards.",
    "What is 345 plus 478?",
    "How many e's are in refrigerator?",
)


class Given:
    """A constraint that leaves the model no choice, and forces nothing: each token is drawn."""

    def __init__(self, ids: Sequence[int], vocab_size: int) -> None:
        self._ids, self._vocab_size = list(ids), vocab_size

    def mask(self) -> mx.array:
        return mx.arange(self._vocab_size) == self._ids[0]

    def accept(self, token: int) -> bool:
        return token == self._ids.pop(0)

    def forced(self) -> Sequence[int]:
        return ()


@dataclass
class Found:
    """What a run has come to. `widths` are tokens of its steps, and how often."""

    tokens: int = 0
    guessed: int = 0
    accepted: int = 0
    seconds: float = 0.0
    widths: Counter[int] = field(default_factory=Counter)


class Noted(PromptLookup):
    """Notes how many tokens each guess has."""

    widths: ClassVar[Counter[int]] = Counter()

    def guess(self, most: int) -> list[int]:
        guesses = super().guess(most)
        self.widths[1 + len(guesses)] += 1
        return guesses


def answered(
    model: Model, scheduler: Scheduler, prompt: list[int], answer: Sequence[int] | None, options: Options
) -> Found:
    """One run, without its prefill and the first token."""
    Noted.widths = Counter()
    runner = Runner(model, scheduler)
    constraint = None if answer is None else Given(answer, model.config.vocab_size)
    began = 0.0
    for item in runner.run(prompt, options, constraint=constraint):
        if isinstance(item, int):
            began = began or time.perf_counter()
    stats = runner.stats
    return Found(stats.decode_tokens, stats.guessed_tokens, stats.accepted_tokens, stats.decode_s, Noted.widths)


def tasks(tokenizer: Tokenizer, most: int) -> Iterator[tuple[str, list[int], list[int]]]:
    """Name, prompt and the first tokens of the answer of each."""
    renderer = Renderer(tokenizer)
    for task in TASKS:
        source, answer = task["source"].strip("\n"), task.get("answer", "").strip("\n")
        if not answer:
            answer = f"```\n{source}\n```"
            for old, new in task["changes"]:
                assert old in answer, task["name"]
                answer = answer.replace(old, new)
        head = [system_message(), user(f"{task['question']}\n\n```\n{source}\n```")]
        said = [assistant(task["thought"], "analysis"), assistant(answer)]
        prompt = renderer.prompt(head)
        yield task["name"], prompt, renderer.conversation([*head, *said])[len(prompt) :][:most]


def step_bytes(model: Model, rows: int) -> float:
    """Bytes of weights that a step of so many rows reads, where each draws its experts by itself."""
    config, plan = model.config, model.plan
    share = config.num_experts_per_tok / config.num_local_experts
    return plan.dense + plan.small + plan.experts * (1 - (1 - share) ** rows)


def compared(model: Model, name: str, prompt: list[int], answer: list[int] | None, rounds: int, most: int) -> str:
    """A row of the table."""
    scheduler = Scheduler(model)
    plain = Options(temperature=0, max_tokens=most if answer is None else len(answer))
    guessing = Options(**{**plain.to_json(), "prompt_lookup": True})
    pairs: list[tuple[Found, Found]] = []
    for _ in range(rounds):
        pairs.append(
            (answered(model, scheduler, prompt, answer, plain), answered(model, scheduler, prompt, answer, guessing))
        )
    without, found = pairs[0]
    assert without.tokens == found.tokens
    steps = found.widths.total()
    ratio = median(one.seconds / two.seconds for one, two in pairs)
    speeds = [median((each[index].tokens - 1) / each[index].seconds for each in pairs) for index in (0, 1)]
    read = sum(count * step_bytes(model, width) for width, count in found.widths.items())
    modelled = (found.tokens - 1) * step_bytes(model, 1) / read
    cells = [name, found.tokens, f"{found.accepted} of {found.guessed}", f"{(found.tokens - 1) / steps:.2f}"]
    cells += [*(f"{speed:.2f}" for speed in speeds), f"{ratio:.2f}", f"{modelled:.2f}"]
    return f"| {' | '.join(map(str, cells))} |"


def costs(model: Model, rounds: int) -> Iterator[str]:
    """What a step of several tokens costs, in steps of one."""
    ids = model.config.vocab_size // 2
    prompt = [(37 * at) % ids for at in range(256)]
    cache = model.make_cache()
    model.transformer(mx.array([prompt]), [cache], "none")
    found: dict[int, list[float]] = {1: [], 2: [], 3: [], 4: []}
    for number in range(rounds * 8):
        for width, seconds in found.items():
            tokens = mx.array([[(1000 + 7 * (number * 4 + at)) % ids for at in range(width)]])
            began = time.perf_counter()
            mx.eval(model.transformer(tokens, [cache], "all"))
            seconds.append(time.perf_counter() - began)
            cache.take_back(width)
    for width, seconds in found.items():
        measured = median(mine / one for mine, one in zip(seconds, found[1], strict=True))
        yield f"{width}: {measured:.2f} (modelled {step_bytes(model, width) / step_bytes(model, 1):.2f})"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="demo", help="as for mlx_model.load (default: demo)")
    parser.add_argument("--tokens", type=int, default=400, help="of each answer at most (default: 400)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, nargs="*", metavar="N", help="which tasks, from 0 (default: all)")
    arguments = parser.parse_args()
    vars(runner_module)["PromptLookup"] = Noted
    model = load(arguments.model)
    print(f"A step of several tokens, in steps of one: {', '.join(costs(model, arguments.rounds))}\n")
    print("| answer | tokens | guessed right | tokens a step | tok/s without | with | ratio | on a GPU, modelled |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    listed = [*tasks(model.tokenizer or o200k(), arguments.tokens)]
    for number in range(len(listed)) if arguments.tasks is None else arguments.tasks:
        name, prompt, answer = listed[number]
        print(compared(model, name, prompt, answer, arguments.rounds, arguments.tokens), flush=True)
    for question in QUESTIONS if model.tokenizer is not None and arguments.tasks is None else ():
        asked: Any = Session(model).prompt(Request([user(question)]))
        print(compared(model, question, asked, None, arguments.rounds, arguments.tokens), flush=True)


if __name__ == "__main__":
    main()
