"""`gptoss-chat completion`: the Tab key of bash, zsh and fish completes commands, options, models and conversations."""

import argparse
import os
from contextlib import closing, suppress

from app.paths import conversations_file
from mlx_model.errors import GptossError
from mlx_model.text import clean

START_UP = {
    "bash": "echo 'eval \"$(gptoss-chat completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(gptoss-chat completion zsh)\"' >> ~/.zshrc",
    "fish": "gptoss-chat completion fish > ~/.config/fish/completions/gptoss-chat.fish",
}
"""The line that switches it on for good, by shell."""

_MOST_IDS = 50


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "completion",
        help="print the completion of a shell: bash, zsh or fish",
        description="Print what makes the Tab key of a shell complete commands, options, models and conversations.",
        epilog="to switch it on for good:\n" + "\n".join(f"  {line}" for line in START_UP.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=tuple(START_UP), help="the shell")
    parser.set_defaults(run=_print)


def _print(arguments: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["gptoss-chat"], shell=arguments.shell))
    return 0


def is_asked() -> bool:
    """Whether a shell asks what may follow."""
    return "_ARGCOMPLETE" in os.environ


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks what may follow, and end the process; nothing where no shell asks."""
    if is_asked():
        from argcomplete import autocomplete

        autocomplete(parser)


def completed_by(action: argparse.Action, completer: object) -> None:
    """Let an argument's values be completed by a function such as those below."""
    action.completer = completer  # type: ignore[attr-defined]  # argcomplete's name for it


def model_names(**_: object) -> list[str]:
    """Models: those by name, and those on this computer."""
    from mlx_model.hub.published import KNOWN

    return [*KNOWN, "demo", *local_model_names()]


def local_model_names(**_: object) -> list[str]:
    """The models on this computer."""
    from mlx_model.hub.inventory import local_models

    with suppress(GptossError, OSError):
        return [clean(model.name) for model in local_models()]
    return []


def conversation_ids(**_: object) -> dict[str, str]:
    """The latest conversations: id to title."""
    from app.store.store import Store

    path = conversations_file()
    with suppress(GptossError, OSError):
        if path.exists():  # else opening it would make it
            with closing(Store(path)) as store:
                return {each.id: clean(each.title) for each in store.summaries(_MOST_IDS)}
    return {}
