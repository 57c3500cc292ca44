"""`gptoss-chat models`: which gpt-oss models are on this computer, and removing one."""

import argparse
import json
import sys

from app.cli.completion import completed_by, local_model_names
from app.cli.printing import say
from app.lines import one_line
from mlx_model.errors import RequestError
from mlx_model.hub.environment import missing_disk
from mlx_model.hub.inventory import LocalModel, demo_model, local_models, removal
from mlx_model.hub.published import DEFAULT, SIZES
from mlx_model.memory.sizes import disk_size
from mlx_model.text import clean


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "models",
        help="list the models on this computer, or remove one",
        description="List the demo model and the gpt-oss models in the Hub's cache and in LM Studio's folders.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.set_defaults(run=lambda arguments: show(as_json=arguments.json))
    actions = parser.add_subparsers(dest="action", metavar="[ACTION]")
    remove = actions.add_parser(
        "remove",
        help="delete a model from the Hub's cache",
        description="Delete a model from the Hub's cache, or with NAME@REVISION only that revision, and print how much "
        "space that freed.",
    )
    name = remove.add_argument("name", metavar="NAME", help="a name that `gptoss-chat models` lists")
    completed_by(name, local_model_names)
    remove.add_argument("--yes", action="store_true", help="delete it without asking")
    remove.set_defaults(run=lambda arguments: delete(arguments.name, yes=arguments.yes))


def show(*, as_json: bool = False) -> int:
    """Print the models on this computer, the demo first, as a table or as JSON; returns 0."""
    local = local_models()
    models = [demo_model(), *local]
    if (problem := missing_disk()) is not None:
        say(problem)
    if as_json:
        print(json.dumps([{**vars(model), "folder": str(model.folder)} for model in models], indent=1))
        return 0
    rows = [("NAME", "SIZE", "STATE", "IN"), *((m.name, _size(m), _state(m), m.source) for m in models)]
    widths = [max(len(one_line(row[column])) for row in rows) for column in range(3)]
    for row in rows:
        cells = [one_line(cell).ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]
        print("  ".join(cells).rstrip())
    if not local and problem is None:
        print(f"\nto download gpt-oss-20b, {disk_size(SIZES[DEFAULT])}: gptoss-chat download gpt-oss-20b")
    unsure = next((m for m in models if not m.verified and m.source == "Hub cache" and m.problem is None), None)
    if unsure is not None:
        print(f"\nto complete and verify it: gptoss-chat download {one_line(unsure.name)}")
    for model in models:
        if model.problem is not None:
            print(f"\n{one_line(model.name)}: {one_line(model.problem)}")
    return 0


def delete(name: str, *, yes: bool = False) -> int:
    """Remove a model from the Hub's cache once the person agrees; returns the exit code. Raises GptossError."""
    deletion = removal(name)
    if not yes:
        if not sys.stdin.isatty():
            raise RequestError(f"there is no terminal to confirm it: to remove {name} without confirming, add --yes")
        question = f"Remove {clean(name)}, {disk_size(deletion.size)}, from this computer? [y/N] "
        print(question, end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was removed", file=sys.stderr)
            return 1
    deletion.run()
    print(f"removed {clean(name)}; {disk_size(deletion.size)} freed")
    return 0


def _size(model: LocalModel) -> str:
    if model.complete or model.expected is None:
        return disk_size(model.size)
    return f"{disk_size(model.size)} of {disk_size(max(model.expected, model.size))}"


def _state(model: LocalModel) -> str:
    if model.problem is not None:
        return "damaged"
    if not model.complete:
        return "partial"
    return "complete, verified" if model.verified else "complete, not verified"
