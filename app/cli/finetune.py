"""`gptoss-chat finetune`: trains a LoRA adapter on conversations of a file, and goes on where it was stopped.

The folder of the adapter is all that goes to standard output; the rest is for a person, on standard error.
"""

import argparse
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.arguments import add_model, stated_load
from app.cli.completion import completed_by
from app.cli.finetune_shown import Progress, behaviour_line, example_lines, loss_plot, write_picture
from app.cli.loading import say_that_the_demo
from app.cli.printing import say, shows_styles
from app.cli.stopping import stoppable
from app.cli.usage import of_arguments
from app.interrupt import INTERRUPTED, Importing
from app.lines import counted
from app.paths import adapter_folder
from app.settings import load as load_settings
from mlx_model.awake import stay_awake
from mlx_model.errors import GptossError, RequestError
from mlx_model.extras import install_line
from mlx_model.hub.published import DEMO
from mlx_model.memory.sizes import memory_size
from mlx_model.text import clean

if TYPE_CHECKING:
    from mlx_model.lora.dialogues import Dialogue
    from mlx_model.lora.examples import Example
    from mlx_model.lora.plan import TrainingPlan
    from mlx_model.lora.recipe import Recipe
    from mlx_model.lora.saved import Folder
    from mlx_model.model import Model

_SHOWN = 3
"""Examples that --dry-run prints."""
_MOST_PROBLEMS = 20
"""Lines that are printed of what is wrong with a file."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "finetune",
        argument_default=argparse.SUPPRESS,
        help="train a LoRA adapter on conversations of yours",
        description="Train a LoRA adapter on the conversations of a file. The model's own weights stay as they are; "
        "`--adapter NAME` makes the chat, ask and serve answer with it. A run that was stopped or killed goes on with "
        "the same command. Look at what will be learnt first: --dry-run.",
        epilog="data: JSON Lines, one conversation a line, of any of these forms: "
        '{"messages": [{"role", "content", "thinking"}]}; {"user", "analysis", "final", "developer"}; '
        'ShareGPT\'s {"conversations": [{"from", "value"}]}; {"prompt", "completion"}; or a file of '
        "`gptoss-chat export --format json`. See GUIDE.md.",
    )
    parser.add_argument("--data", type=Path, metavar="FILE", required=True, help="the conversations")
    parser.add_argument(
        "--out", metavar="NAME", default="mine", help="name of the adapter, or a folder for it (default: mine)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the data, print three examples and the plan, and stop"
    )
    parser.add_argument("--restart", action="store_true", help="begin anew where a run is kept under that name")
    parser.add_argument(
        "--evaluate",
        type=_count,
        metavar="N",
        help="at the end let the model answer N held-out prompts, without the adapter and with it (default: 20)",
    )
    add_model(parser.add_argument_group("model"), streams=False)  # what is trained beside has to be in memory
    _add_recipe(parser)
    parser.set_defaults(run=run)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is trained")
    targets = group.add_argument(
        "--targets",
        type=_names,
        metavar="NAMES",
        help="attention, router, experts, separated by commas (default: attention, which other programs read too)",
    )
    completed_by(targets, lambda **_: ["attention", "router", "experts"])
    group.add_argument("--rank", type=int, metavar="N", help="rank of the adapters (default: 8)")
    group.add_argument("--expert-rank", type=int, metavar="N", help="rank of the experts' (default: that of --rank)")
    group.add_argument("--alpha", type=float, metavar="A", help="A / rank is the factor on an adapter (default: 16)")
    group.add_argument("--layers", type=_layers, metavar="LIST", help="layers, as 0-7,15 (default: all)")
    group.add_argument(
        "--expert-layers", type=_layers, metavar="LIST", help="layers of the experts' (default: three, as 7,15,23)"
    )
    group.add_argument("--analysis-weight", type=float, metavar="W", help="what tokens of thoughts count (default: 1)")
    group.add_argument("--final-weight", type=float, metavar="W", help="what tokens of answers count (default: 1)")
    group = parser.add_argument_group("how")
    group.add_argument("--learning-rate", type=float, metavar="R", help="the highest one (default: 2e-4)")
    group.add_argument("--batch", type=int, metavar="N", help="examples of a step (default: 16)")
    group.add_argument("--epochs", type=float, metavar="N", help="times that all examples are seen (default: 1)")
    group.add_argument("--steps", type=int, metavar="N", help="steps, in place of --epochs")
    group.add_argument(
        "--warmup", type=float, metavar="S", help="share of steps until the highest rate (default: 0.03)"
    )
    group.add_argument("--length", type=int, metavar="N", help="most tokens computed at once (default: 2048)")
    group.add_argument(
        "--held-out", type=float, metavar="S", help="share of conversations to test with (default: 0.05)"
    )
    group.add_argument("--seed", type=int, metavar="N", help="of everything that is drawn (default: 0)")


@dataclass(frozen=True, slots=True)
class _Data:
    """The conversations of the file, and their examples to learn from and to test with."""

    dialogues: "list[Dialogue]"
    learnt: "list[Example]"
    held_out: "list[Example]"


def run(arguments: argparse.Namespace) -> int:
    """Train, and print the adapter's folder; returns 0, or INTERRUPTED after a stop. Raises GptossError."""
    with Importing():
        from mlx_model.hub import names as hub
        from mlx_model.lora.recipe import Recipe

    folder = _folder(arguments.out)
    with of_arguments():
        recipe = Recipe(**{name: getattr(arguments, name) for name in Recipe.names() if hasattr(arguments, name)})
    load = stated_load(arguments, load_settings())
    name = hub.default_model() if load.model is None else load.model
    if load.model is None and name == DEMO:
        say_that_the_demo("is trained")
    data = _read(arguments.data, name, recipe)
    plan = _plan(name, recipe, load.dense_bits, load.memory)
    if hasattr(arguments, "dry_run"):
        _show(data, name)
        return 0
    model = _load(name, plan, load.map)
    say(f"{recipe.parameters(model.config):,} numbers to train, into {folder.path}")
    stay_awake()
    code = _train(model, recipe, data, folder, restart=hasattr(arguments, "restart"))
    if code == 0:
        try:
            _evaluate(model, folder, data, getattr(arguments, "evaluate", 20))
        except GptossError as error:  # what was learnt is there
            say(f"held-out prompts are not answered: {error}")
        name = folder.path.name if folder.path == adapter_folder(folder.path.name) else str(folder.path)
        say(f"try it with: gptoss-chat --adapter {name}")
        print(clean(str(folder.path)))
    return code


def _read(path: Path, model: str, recipe: "Recipe") -> _Data:
    """What is to be learnt of a file, with a word on what isn't. Raises GptossError where it can't be used."""
    with Importing():
        from mlx_model.harmony.render import Renderer
        from mlx_model.harmony.tokenizer import Tokenizer
        from mlx_model.hub import names as hub
        from mlx_model.lora.batches import split
        from mlx_model.lora.dialogues import DataError, read_dialogues
        from mlx_model.lora.examples import examples_of

    renderer = Renderer(Tokenizer.load(hub.resolve(model)))
    try:
        dialogues, left_out = read_dialogues(path)
    except DataError as error:
        if (count := len(error.problems)) < 2:
            raise
        for problem in error.problems[:_MOST_PROBLEMS]:
            say(problem)
        named = f"; the first {_MOST_PROBLEMS} are named above" if count > _MOST_PROBLEMS else ""
        raise DataError(f"nothing was learnt, for {count:,} conversations can't be used{named}") from None
    for line in left_out:
        say(f"{line}; it is left out")
    examples = [example for each in dialogues for example in examples_of(each, renderer, recipe.weights)]
    long = [example for example in examples if len(example.ids) > recipe.length]
    if long:
        longest = max(long, key=lambda example: len(example.ids))
        say(
            f"left out: {len(long):,} of {counted(len(examples), 'answer')}, which with what stands before have more "
            f"than {recipe.length:,} tokens (the longest, {longest.where}: {len(longest.ids):,}); --length takes more"
        )
    kept = [example for example in examples if len(example.ids) <= recipe.length and example.learnt]
    if not kept:
        raise RequestError(f"nothing in {path} can be learnt from")
    learnt, held_out = split(kept, recipe.held_out, recipe.seed)
    tokens, in_them = sum(len(each.ids) for each in learnt), sum(each.learnt for each in learnt)
    say(
        f"{counted(len(learnt), 'answer')} to learn from, {len(held_out):,} to test with; {tokens:,} tokens an epoch, "
        f"of which {in_them:,} are learnt; {counted(recipe.total_steps(len(learnt)), 'step')} of "
        f"{min(recipe.batch, len(learnt))}"
    )
    if bare := sum(not example.has_thought for example in learnt):
        say(
            f"{counted(bare, 'answer')} without a thought: what is taught there is the answer alone, and the model may "
            "think less than it did"
        )
    return _Data(dialogues, learnt, held_out)


def _plan(model: str, recipe: "Recipe", bits: int | None, memory: int | None) -> "TrainingPlan":
    """How the run fits, with a word on the memory. Raises BudgetError."""
    with Importing():
        from mlx_model.hub import names as hub
        from mlx_model.lora.plan import fitting
        from mlx_model.memory import device
        from mlx_model.memory.wishes import Wishes
        from mlx_model.transformer.config import ModelConfig
        from mlx_model.weights.loader import stored_dense_bits

    folder = hub.resolve(model)
    config = ModelConfig.load(folder)
    wishes, budget = Wishes(dense_bits=bits, stored_bits=stored_dense_bits(folder, config)), device.budget(memory)
    found = fitting(config, recipe, wishes, budget.nbytes, on_gpu=device.on_gpu())
    dense = "" if found.dense_bits == 16 else f", all but the experts at {found.dense_bits} bits"
    say(
        f"at most {memory_size(found.total)} of memory: {memory_size(found.weights)} of weights{dense}. {budget.reason}"
    )
    return found


def _show(data: _Data, model: str) -> None:
    """Prints some examples, with what is learnt marked."""
    from mlx_model.harmony.tokenizer import Tokenizer
    from mlx_model.hub import names as hub

    tokenizer = Tokenizer.load(hub.resolve(model))
    by_language = {example.language: example for example in reversed(data.learnt)}
    for example in list(dict.fromkeys([*by_language.values(), *data.learnt]))[:_SHOWN]:
        print("\n".join(example_lines(example, tokenizer, styled=shows_styles(sys.stdout))), flush=True)


def _load(name: str, plan: "TrainingPlan", map: str) -> "Model":
    """Within the memory of the run, so that nothing is held that only answers are the better for."""
    with Importing():
        from mlx_model.model import load as load_model

    say(f"loading {name}")
    return load_model(
        name, dense_bits=plan.dense_bits, memory=plan.total, map=map, context=plan.context, differentiable=True
    )


def _folder(name: str) -> "Folder":
    """The folder of an adapter: a name is one among those that `--adapter` finds. Raises RequestError for no name, and
    where none can be made."""
    from mlx_model.lora.saved import Folder

    if name in ("", ".", ".."):
        raise RequestError(f'"{name}" is no name for an adapter; give --out another, or a folder with a / in it')
    path = Path(name).absolute() if "/" in name else adapter_folder(name)
    for needed in (path.parent, *([path] if path.exists() else [])) if "/" in name else ():
        if not needed.is_dir():
            raise RequestError(f"{needed} is no folder; the adapter's own is made in one that is there")
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise RequestError(f"{there} can't be written to; give the adapter another folder with --out")
    return Folder(path)


def _train(model: "Model", recipe: "Recipe", data: _Data, folder: "Folder", *, restart: bool) -> int:
    with Importing():
        from mlx_model.lora.run import Run, Stopped

    run = Run(model, recipe, data.learnt, data.held_out, folder)
    progress, stopped = Progress(sys.stderr), False
    with stoppable("after this step") as asked:
        for event in run.events(asked, restart=restart):
            progress.show(event)
            stopped = isinstance(event, Stopped)
    progress.end()
    history = folder.history()
    if len(history) > 1:
        print("\n".join(loss_plot(history)), file=sys.stderr)
        try:
            write_picture(folder.picture, history, folder.path.name)
            say(f"the losses as a picture: {folder.picture}")
        except ImportError:
            say(f"no picture of the losses without Pillow; install it with: {install_line('figures')}")
    return INTERRUPTED if stopped else 0


def _evaluate(model: "Model", folder: "Folder", data: _Data, count: int) -> None:
    """Lets the model answer held-out prompts without the adapter and with it, and says how: of each conversation the
    last whose answer could have been learnt."""
    with Importing():
        from mlx_model.lora.behaviour import Behaviour, behaviours, languages_of

    ends = {example.where: example.end for example in data.held_out}
    held_out = [dialogue for dialogue in data.dialogues if dialogue.where in ends]
    chosen = [replace(each, messages=each.messages[: ends[each.where]]) for each in held_out[:count]]
    if not chosen:
        return
    languages = languages_of([dialogue for dialogue in data.dialogues if dialogue.where not in ends])
    with stoppable("the answers") as asked:
        for words, answering in (("without", model), ("with", model.with_adapter(folder.path))):
            total = Behaviour()
            for found in behaviours(answering, chosen, languages, asked):
                total += found
            if asked():
                return
            say(behaviour_line(words, total))


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of prompts")
    return int(text)


def _layers(text: str) -> tuple[int, ...]:
    """ "0-3,7" as numbers."""
    found: list[int] = []
    for part in _names(text):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or len(part) > 9:
            raise argparse.ArgumentTypeError(f'{part!r} is no layer; write them as "0-7,15"')
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise argparse.ArgumentTypeError(f'{text!r} has no layer in it; write them as "0-7,15"')
    return tuple(dict.fromkeys(found))
