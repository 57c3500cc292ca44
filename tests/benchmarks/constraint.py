"""What it costs to bind answers, and whether they keep to their form.

Run by `make bench-constraint`. Three parts: grammars on the 201,088 ids of gpt-oss (compiling, a mask, a token taken,
the share of tokens that are forced), followed along given texts; the demo model with and without grammars, by turns, in
this one process; and random schemas, answered by a model that knows nothing, so that only the grammar counts. Times are
those of the CPU, so that other programs disturb little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jsonschema
import mlx.core as mx
import psutil

from mlx_model import Form, FunctionTool, Model, Options, Request, ResponseFormat, Session, load, user
from mlx_model.errors import RequestError
from mlx_model.events import Finished, MessageStart, TextDelta
from mlx_model.generation.bound import Bound
from mlx_model.generation.grammars import Grammars, grammars_of
from mlx_model.harmony.grammar import bind
from mlx_model.harmony.message import Message, Role, assistant
from mlx_model.harmony.render import Renderer
from tests.fixtures.random_schemas import RandomSchemas, random_text
from tests.fixtures.vocabulary import o200k

IDS = 201_088


def an_object(required: str = "", **properties: Any) -> dict[str, Any]:
    """The schema of an object with these properties and no others; some are required."""
    return {"type": "object", "properties": properties, "required": required.split(), "additionalProperties": False}


TEXT, NAME = {"type": "string"}, {"type": "string", "maxLength": 40}
PERSON = an_object(
    "name age email tags",
    name=NAME,
    age={"type": "integer", "minimum": 0},
    email={"type": "string", "format": "email"},
    tags={"type": "array", "items": NAME},
)
USES = an_object("uses", uses={"type": "string", "pattern": r"^[\w-]+/[\w-]+@v\d+$"}, **{"with": {"type": "object"}})
RUN = an_object("run", run=TEXT, env={"type": "object", "additionalProperties": TEXT})
JOB = an_object(
    "steps", needs={"type": "array", "items": TEXT}, steps={"type": "array", "items": {"anyOf": [USES, RUN]}}
)
JOBS = {"type": "object", "additionalProperties": {"$ref": "#/$defs/job"}}
WORKFLOW = an_object("name on jobs", name=TEXT, on={"enum": ["push", "pull_request", "schedule"]}, jobs=JOBS)
WORKFLOW["$defs"] = {"job": JOB}
WEATHER = an_object("location", location=TEXT, days={"type": "integer"})
COUNT = an_object(
    "word letter count sure",
    word={"type": "string", "maxLength": 12},
    letter={"enum": ["r", "s", "t"]},
    count={"type": "integer", "minimum": 0, "maximum": 20},
    sure={"type": "boolean"},
)
TESTED = {"needs": ["lint"], "steps": [{"uses": "actions/checkout@v4"}, {"run": "make test", "env": {"CI": "true"}}]}
LINTED = {"steps": [{"uses": "actions/checkout@v4"}, {"run": "ruff check ."}]}
SAID: dict[str, tuple[Any, Any]] = {
    "JSON, 4 fields": (PERSON, {"name": "Ada Lovelace", "age": 36, "email": "ada@example.org", "tags": ["first", "a"]}),
    "JSON, nested, references": (WORKFLOW, {"name": "Tests", "on": "push", "jobs": {"test": TESTED, "lint": LINTED}}),
    "JSON, any object": ({"type": "object"}, {"anything": [1, 2.5, None, {"deep": "er"}], "more": "with spaces"}),
}
THOUGHT = assistant("The user wants the weather in Oslo, so I call the tool. It returns JSON. " * 6, "analysis")
ARGUMENTS = '{"location": "Oslo", "days": 3}'
CALL = Message(Role.ASSISTANT, ARGUMENTS, None, "commentary", "functions.tool_0", "<|constrain|>json")
QUESTION = "How many r's are in strawberry?"


def tools(count: int) -> tuple[FunctionTool, ...]:
    """So many functions, every eighth with a large schema."""
    return tuple(
        FunctionTool(f"tool_{at}", "", WORKFLOW if at % 8 == 7 else WEATHER, strict=True) for at in range(count)
    )


def print_grammars() -> None:
    """Costs on the real vocabulary."""
    tokenizer, memory, start = o200k(), psutil.Process().memory_info().rss, time.thread_time()
    known = Grammars(tokenizer, IDS)
    known.matcher(json.dumps({"grammars": [{"lark_grammar": 'start: "a"'}]}))
    seconds, used = time.thread_time() - start, psutil.Process().memory_info().rss - memory
    print(f"The vocabulary of {IDS:,} ids, once a model: {seconds:.2f} s of CPU, {used / 1e6:.0f} MB\n")
    print(f"{'grammar':<32}{'compile':>10}{'mask, us: median':>18}{'p99':>7}{'max':>7}{'taken':>7}{'forced':>8}")
    answers = [
        (name, Request([], form=Form(schema)), [assistant(json.dumps(said))]) for name, (schema, said) in SAID.items()
    ]
    for name, request, messages in (
        *answers,
        ("a call, 3 tools", Request([], functions=tools(3), strict_headers=True), [THOUGHT, CALL]),
        ("a call, 40 tools", Request([], functions=tools(40), strict_headers=True), [THOUGHT, CALL]),
    ):
        print_grammar(name, request, messages, known)


def print_grammar(name: str, request: Request, messages: Sequence[Message], known: Grammars) -> None:
    """One grammar, followed along the ids of an answer."""
    tokenizer = o200k()
    binding = bind(request, tokenizer)
    assert binding is not None and binding.turn is not None
    start = time.thread_time()
    known.check(binding)
    compiled = time.thread_time() - start
    renderer = Renderer(tokenizer)
    ids = renderer.training(messages)[len(renderer.opening) :]
    masks, taken, forced = list[float](), list[float](), 0
    for _ in range(3):
        bound, run = Bound(binding, known, tokenizer, Options(top_k=1)), 0
        for at, token in enumerate(ids):
            if not run and (run := len(given := bound.forced())):
                assert list(given) == ids[at : at + run], f"{given} in place of {ids[at : at + run]}"
            start = time.thread_time()
            mask = bound.mask()  # lazy: on the device it is expanded while others compute
            masks.append(time.thread_time() - start)
            start = time.thread_time()
            assert mask is not None and bound.accept(token), f"{tokenizer.decode([token])!r} is refused"
            taken.append(time.thread_time() - start)
            forced, run = forced + (run > 0), max(0, run - 1)
    quantiles = statistics.quantiles(masks, n=100)
    times = f"{1e6 * quantiles[49]:>18.0f}{1e6 * quantiles[98]:>7.0f}{1e6 * max(masks):>7.0f}"
    print(
        f"{name:<32}{1e3 * compiled:>7.1f} ms{times}{1e6 * statistics.median(taken):>7.1f}{forced / 3 / len(ids):>8.0%}"
    )


@contextmanager
def changed(**methods: Callable[..., Any]) -> Iterator[None]:
    """Bound with methods replaced."""
    before = {name: getattr(Bound, name) for name in methods}
    try:
        for name, method in methods.items():
            setattr(Bound, name, method)
        yield
    finally:
        for name, method in before.items():
            setattr(Bound, name, method)


_MASK = Bound.mask


def always_masked(bound: Bound) -> mx.array | None:
    """`Bound.mask`, but in free text, too."""
    free, bound._free = bound._free, False
    try:
        return _MASK(bound)
    finally:
        bound._free = free


def print_decoding(model: Model, rounds: int) -> None:
    """The demo model, free and bound, by turns."""
    free, bound = Request([user(QUESTION)]), Request([user(QUESTION)], strict_headers=True)
    formed = replace(free, form=Form(COUNT), response_format=ResponseFormat("answer", COUNT))
    rows: tuple[tuple[str, Request, dict[str, Callable[..., Any]]], ...] = (
        ("free", free, {}),
        ("headers bound, text drawn from all tokens", bound, {}),
        ("headers bound, masks throughout", bound, {"mask": always_masked}),
        ("bound to a schema, forced runs as one prefill", formed, {}),
        ("bound to a schema, token by token", formed, {"forced": lambda _: ()}),
    )
    per_token: dict[str, list[float]] = {name: [] for name, _, _ in rows}
    for seed in range(rounds):
        for name, request, methods in rows:
            session = Session(model)
            with changed(**methods):
                seconds, tokens = decoding(session, replace(request, options=Options(seed=seed, max_tokens=200)))
            per_token[name].append(seconds / tokens)
    print("\nThe demo model on this CPU, by turns in one process: CPU time a token (medians)")
    least = statistics.median(per_token["free"])
    for name, each in per_token.items():
        print(f"  {name:<48}{1e3 * statistics.median(each):>6.2f} ms{statistics.median(each) / least:>7.2f}")


def decoding(session: Session, request: Request) -> tuple[float, int]:
    """CPU seconds from an answer's first token to its last, and the tokens between."""
    start, tokens = 0.0, 0
    for event in session.stream(request):
        if isinstance(event, MessageStart) and not start:
            start, tokens = time.process_time(), -len(session.tokens)
    return time.process_time() - start, tokens + len(session.tokens)


def finished(session: Session, request: Request) -> tuple[Finished, str]:
    """How an answer ended, and its final text."""
    texts: list[str] = []
    for event in session.stream(request):
        if isinstance(event, TextDelta) and event.channel == "final":
            texts.append(event.text)
        elif isinstance(event, Finished):
            return event, "".join(texts)
    raise AssertionError("no Finished")


def print_answers(model: Model, count: int) -> int:
    """Answers of the demo model that keep to their schema; returns how many don't."""
    forced, valid, tokens, reasons, session = 0, 0, 0, Counter[str](), Session(model)
    given = Bound.forced

    def counted(self: Bound) -> Sequence[int]:
        nonlocal forced
        run = given(self)
        forced += len(run)
        return run

    form = {"form": Form(COUNT), "response_format": ResponseFormat("answer", COUNT)}
    with changed(forced=counted):
        for seed in range(count):
            request = Request([user(QUESTION)], Options(seed=seed, max_tokens=600), **form)  # type: ignore[arg-type]
            end, text = finished(session, request)
            reasons[end.reason] += 1
            tokens += end.stats.decode_tokens
            valid += end.reason == "stop" and is_valid(text, COUNT)
    print(f"\n{valid} of {count} answers of the demo model keep to their schema ({dict(reasons)})")
    print(f"{forced:,} of their {tokens:,} tokens ({forced / max(1, tokens):.0%}) were forced")
    return count - valid


def is_valid(text: str, schema: Any) -> bool:
    """Whether a text is JSON that keeps to a schema."""
    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def print_random(model: Model, count: int) -> int:
    """Random schemas and random texts of theirs; returns how many texts don't keep to them."""
    tokenizer = model.tokenizer
    assert tokenizer is not None
    known, results, start = grammars_of(tokenizer, model.config.vocab_size), Counter[str](), time.thread_time()
    for seed in range(count):
        schema = RandomSchemas(seed).draw()
        try:
            binding = bind(Request([], form=Form(schema)), tokenizer)
            assert binding is not None
            known.check(binding)
        except RequestError:
            results["refused by name"] += 1
            continue
        text = random_text(known, binding.parts[0].grammar, tokenizer, seed)
        results["not ended" if text is None else "valid" if is_valid(text, schema) else "INVALID"] += 1
    listed = ", ".join(f"{number:,} {result}" for result, number in results.most_common())
    print(f"\n{count:,} random schemas: {listed} ({time.thread_time() - start:.0f} s)")
    return results["INVALID"]


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m tests.benchmarks.constraint`; returns 1 if anything did not keep to its form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=200, metavar="N", help="of the demo model (default: 200)")
    parser.add_argument("--schemas", type=int, default=1000, metavar="N", help="random ones (default: 1,000)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="of decoding by turns (default: 15)")
    args = parser.parse_args(arguments)
    print_grammars()
    model = load("demo")
    mx.reset_peak_memory()
    print_decoding(model, args.rounds)
    wrong = print_answers(model, args.answers)
    return int(wrong + print_random(model, args.schemas) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
