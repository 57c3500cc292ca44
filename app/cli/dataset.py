"""`gptoss-chat dataset`: makes a test set for language models from documents, and goes on where it was stopped.

The path of the set is all that goes to standard output; the rest is for a person, on standard error.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from app.cli.arguments import add_model, stated_load, stated_options, text_of
from app.cli.connecting import add_server, engine_there
from app.cli.files import unlocked
from app.cli.loading import load_model
from app.cli.printing import ProgressLine, say
from app.cli.stopping import stoppable
from app.cli.usage import UsageError
from app.dataset import export
from app.dataset.export import FORMATS
from app.dataset.kinds import KINDS, Letters
from app.dataset.log import Log, begun_with, opened
from app.dataset.report import report, summary
from app.dataset.run import MOST_IN_VAIN, Recipe, Run
from app.dataset.sources import Source, check_there, read_sources
from app.engine.engine import Engine
from app.engine.local import LocalEngine
from app.engine.protocol import Load, Ready
from app.interrupt import INTERRUPTED
from app.lines import counted, duration, took
from app.settings import load as load_settings
from metal.files import replace_file
from mlx_model.errors import GptossError, RequestError
from mlx_model.generation.grammars import check_installed
from mlx_model.hub import names as hub
from mlx_model.hub.published import DEFAULT, DEMO
from mlx_model.options import Options
from mlx_model.text import clean

if TYPE_CHECKING:
    from app.remote.engine import RemoteEngine

_COUNT, _MOST_COUNT = 50, 100_000
_MOST_TOKENS = 4096
"""Of an answer, unless something else is said: an item has some hundred, and its thought."""
_MOST_AT_ONCE = 32


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "dataset",
        argument_default=argparse.SUPPRESS,
        help="make a test set for language models from documents",
        description="Make a test set for language models from documents of any format that can be attached. Each item "
        "has a question, its answer and the quote that it stands on, which is found in the file; what is not grounded, "
        "gives itself away or is there already is dropped and counted. Beside the set are its report and the log of "
        "all tries, from which --resume goes on.",
        epilog="A part of a file is taken as in ask: paper.pdf:3-7, paper.pdf#method. A file in a folder that can't be "
        "read is named in the report.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="documents, and folders of them")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", required=True, help="the set, as in test.jsonl")
    parser.add_argument("--count", type=_number(_MOST_COUNT), metavar="N", help=f"items (default: {_COUNT})")
    parser.add_argument(
        "--kind",
        choices=list(KINDS),
        help="qa: short answers (the default); choice: one of four; boolean: yes or no; letters: a toy, which the demo "
        "model can make, too",
    )
    parser.add_argument(
        "--language", metavar="NAME", help="of the items, as in German (default: that of each document)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="jsonl: everything that is known of an item (the default); the others: what those programs read",
    )
    parser.add_argument(
        "--without-text",
        action="store_true",
        help="leave the passage out of the prompts of the other formats, as for a model that searches for itself",
    )
    parser.add_argument(
        "--drop-known",
        action="store_true",
        help="ask the model each question without the document, too, and drop what it knows anyway",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run that was begun under that name, with its --kind, --language, --seed and --drop-known",
    )
    group = parser.add_argument_group("model")
    add_model(group)
    add_server(group)
    group.add_argument("--effort", choices=["low", "medium", "high"], help="how long to think (default: medium)")
    group.add_argument("--temperature", type=float, metavar="T", help="of sampling (default: 1)")
    group.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help=f"most tokens of an answer, thinking included (default: {_MOST_TOKENS:,})",
    )
    group.add_argument("--seed", type=int, metavar="N", help="of everything that is drawn (default: 0)")
    group.add_argument(
        "--at-once",
        type=_number(_MOST_AT_ONCE),
        metavar="N",
        help="items that are under way together, as far as memory allows (default: 1)",
    )
    parser.set_defaults(run=run)


@dataclass(frozen=True, slots=True)
class _Paths:
    """The files of a set: the items, what a program wants beside them, the report, the log."""

    data: Path

    @property
    def task(self) -> Path:
        return self.data.with_suffix(".yaml")

    @property
    def report(self) -> Path:
        return self.data.with_suffix(".report.md")

    @property
    def log(self) -> Path:
        return self.data.with_suffix(".log.jsonl")

    def check(self) -> None:
        """Raises RequestError where the set has no place, or would take that of something else."""
        if self.data.suffix != ".jsonl":
            raise RequestError(f"the set is a file of JSON lines: name it {self.data.with_suffix('.jsonl')}")
        if not self.data.parent.is_dir():
            raise RequestError(f"{self.data.parent} is no folder; the set needs one that is there")
        there = [path for path in (self.data, self.task, self.report) if path.exists()]
        if there and not self.log.exists():
            raise RequestError(f"{there[0]} is there already, and not of a run that can go on: name another with -o")


def run(arguments: argparse.Namespace) -> int:
    """Make the set, and print its path; returns 0, 1 where there is no item, or INTERRUPTED. Raises GptossError."""
    paths, settings = _Paths(arguments.out), load_settings()
    paths.check()
    check_there(arguments.files)  # first: whatever else is wrong, the person has it in sight
    server = engine_there(arguments, settings)
    load = stated_load(arguments, settings if server is None else replace(settings, model=None))
    before = begun_with(paths.log) if hasattr(arguments, "resume") else {}
    recipe = _recipe(arguments, Options(**{**settings.options, **stated_options(arguments)}), before)
    if server is None:
        load = replace(load, model=hub.default_model() if load.model is None else load.model)
        _check_here(load, recipe)
    sources, left_out = read_sources(arguments.files, unlocked)
    for line in left_out:
        say(f"left out: {line}")
    made = Run(recipe, sources)
    copies = f"; {made.copies:,} more with the text of one of them" if made.copies else ""
    say(f"{counted(len(made.passages), 'passage')} of {counted(len(sources), 'file')}{copies}")
    engine = server or LocalEngine()
    with stoppable("and writing what is there", engine.stop) as stopped:
        model = asyncio.run(_make(made, sources, engine, load, paths.log, stopped, arguments))
    _write(made, model, getattr(arguments, "format", FORMATS[0]), paths, left_out, arguments)
    for line in summary(made):
        say(line)
    if stopped() and not made.is_over:
        say("stopped; the same command with --resume goes on")
        return INTERRUPTED
    if made.is_in_vain:
        say(f"the last {MOST_IN_VAIN} tries came to nothing: the documents, or the model, give no more")
    return 0 if made.items else 1


async def _make(
    made: Run,
    sources: Sequence[Source],
    engine: "LocalEngine | RemoteEngine",
    load: Load,
    path: Path,
    stopped: Callable[[], bool],
    arguments: argparse.Namespace,
) -> str:
    """Goes on with the run until it is over or stopped; returns the model's name. Raises GptossError."""
    try:
        is_here = isinstance(engine, LocalEngine)
        model = str(load.model) if is_here else await _connect(engine, load)
        with opened(path, made.recipe.setting(model, sources), resume=hasattr(arguments, "resume")) as log:
            made.take_up(log)
            if made.tries:
                say(f"going on after {counted(made.tries, 'try')}, with {counted(len(made.items), 'item')}")
            if isinstance(engine, LocalEngine) and not made.is_over:
                say(f"loading {model}")
                await load_model(engine, load)
            try:
                await _tries(made, engine, log, stopped, getattr(arguments, "at_once", 1))
            except GptossError as error:
                raise type(error)(f"{error}; --resume goes on after {counted(made.tries, 'try')}") from None
        return model
    finally:
        await engine.close()


async def _connect(engine: Engine, load: Load) -> str:
    """The model of a server. Raises EngineError or EngineDied."""
    async for reply in engine.load(load):
        if isinstance(reply, Ready):
            return reply.model
    raise AssertionError("a load ends with Ready")


async def _tries(made: Run, engine: Engine, log: Log, stopped: Callable[[], bool], at_once: int) -> None:
    line, began, before = ProgressLine(sys.stderr), monotonic(), len(made.items)
    try:
        async with aclosing(made.outcomes(engine, log, stopped, at_once)) as outcomes:
            async for _ in outcomes:
                line.show(_progress(made, (monotonic() - began) / max(1, len(made.items) - before)))
    finally:
        line.end()


def _progress(made: Run, seconds: float) -> str:
    """How far a run is, where an item takes so many seconds."""
    left = duration((made.recipe.count - len(made.items)) * seconds)
    there, dropped = len(made.items), made.tries - len(made.items)
    items = f"{there:,} of {counted(made.recipe.count, 'item')}"
    return f"{items}, {dropped:,} dropped, {took(seconds)} each, {left} left"


def _recipe(arguments: argparse.Namespace, options: Options, before: Mapping[str, Any]) -> Recipe:
    """What is asked for; what isn't said is as in the run that goes on, which began with the setting `before`."""
    kind = getattr(arguments, "kind", before.get("kind"))
    kind = kind if kind in list(KINDS) else next(iter(KINDS))
    drops_known = hasattr(arguments, "drop_known") or before.get("drop_known") is True
    if kind == Letters.name and drops_known:
        raise UsageError("--drop-known is not for --kind letters: its answers are in the questions")
    language, seed = getattr(arguments, "language", before.get("language")), before.get("seed")
    language = " ".join(text_of(language if isinstance(language, str) else "").split()) or None
    if hasattr(arguments, "seed") or type(seed) is not int:
        seed = options.seed or 0
    most = options.max_tokens or _MOST_TOKENS
    options = replace(options, seed=None, max_tokens=most)
    return Recipe(kind, getattr(arguments, "count", _COUNT), language, seed, drops_known, options)


def _check_here(load: Load, recipe: Recipe) -> None:
    """Raises RequestError where a model on this computer can't make such a set."""
    check_installed()
    if load.model == DEMO and recipe.kind != Letters.name:
        raise RequestError(
            f"the demo model can't write such items; try the command out with --kind {Letters.name}, or get a model "
            f"that can: gptoss-chat download {DEFAULT}"
        )


def _write(
    made: Run, model: str, form: str, paths: _Paths, left_out: Sequence[str], arguments: argparse.Namespace
) -> None:
    """Writes the set and what stands beside it. Raises OSError."""
    lines = export.lines_of(made.items, form, with_text=not hasattr(arguments, "without_text"))
    _replace(paths.data, lines)
    if task := export.task_of(made.items, form, paths.data):
        _replace(paths.task, task)
    _replace(paths.report, report(made, model, form, paths.data, paths.task, left_out))
    print(clean(str(paths.data)), flush=True)
    say(f"report: {paths.report}")


def _replace(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode("utf-8", "replace"), durable=True)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; what was tried is kept in the log", str(path)) from None


def _number(most: int) -> Callable[[str], int]:
    """A whole number from 1: the type of an argument."""

    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text[:9]) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to {most:,}")
        return int(text)

    return number
